"use strict";(self.rspackChunkpreflight_lab=self.rspackChunkpreflight_lab||[]).push([[700],{646(e,r,o){var t=o(601),a=o.n(t),n=o(314),p=(o.n(n))()(a());p.push([e.id,`body {
  --pf-bad: #c40028;
}

body[data-jp-theme-light='false'] {
  --pf-bad: #ff7a85; /* the red of the light theme has a contrast of 3 on dark ground */
}

.pf-status {
  display: flex;
  align-items: center;
}

.pf-status button {
  align-items: center;
  background: none;
  border: 0;
  color: inherit;
  cursor: pointer;
  display: flex;
  font: inherit;
  gap: 6px;
  height: 100%;
  max-width: 60ch;
  overflow: hidden;
  padding: 0 6px;
  white-space: nowrap;
}

.pf-status button:hover {
  background: var(--jp-layout-color3);
}

.pf-status button:focus-visible,
.pf-panel button:focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: -2px;
}

.pf-dot {
  background: var(--jp-layout-color4);
  border-radius: 50%;
  flex: none;
  height: 9px;
  width: 9px;
}

.pf-status[data-tone='ok'] .pf-dot {
  background: var(--jp-success-color1);
}

.pf-status[data-tone='busy'] .pf-dot {
  background: none;
  border: 2px solid var(--jp-brand-color1);
  box-sizing: border-box;
}

.pf-status[data-tone='warn'] .pf-dot {
  background: var(--jp-warn-color1);
  border-radius: 0;
}

.pf-status[data-tone='bad'] button {
  background: #b3001b;
  color: #fff;
}

.pf-status[data-tone='bad'] .pf-dot {
  background: #fff;
  border-radius: 0;
}

.pf-spoken {
  clip-path: inset(50%);
  height: 1px;
  overflow: hidden;
  position: absolute;
  width: 1px;
}

.pf-panel {
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.45;
  min-width: 260px;
  overflow: auto;
  padding: 0 12px 24px;
}

.pf-panel h2 {
  font-size: var(--jp-ui-font-size2);
  margin: 0;
}

.pf-panel h3 {
  font-size: var(--jp-ui-font-size1);
  margin: 18px 0 6px;
}

.pf-panel h4 {
  font-size: var(--jp-ui-font-size0);
  font-weight: 600;
  margin: 8px 0 2px;
}

.pf-panel p {
  margin: 4px 0;
}

.pf-head {
  border-left: 4px solid var(--jp-border-color1);
  margin: 12px 0 0;
  padding: 4px 10px;
}

.pf-head[data-tone='ok'] {
  border-color: var(--jp-success-color1);
}

.pf-head[data-tone='busy'] {
  border-color: var(--jp-brand-color1);
}

.pf-head[data-tone='warn'] {
  border-color: var(--jp-warn-color1);
}

.pf-head[data-tone='bad'] {
  border-color: var(--pf-bad);
}

.pf-advice {
  overflow-wrap: anywhere;
}

.pf-said {
  background: var(--jp-layout-color2);
  padding: 4px 10px;
}

.pf-row {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
  margin: 6px 0;
}

.pf-button {
  background: var(--jp-layout-color2);
  border: 1px solid var(--jp-border-color1);
  border-radius: 3px;
  color: var(--jp-ui-font-color1);
  cursor: pointer;
  font: inherit;
  padding: 3px 9px;
}

.pf-button:hover {
  background: var(--jp-layout-color3);
}

.pf-button.pf-link {
  background: none;
  border: 0;
  color: var(--jp-content-link-color, var(--jp-brand-color1));
  overflow-wrap: anywhere;
  padding: 0;
  text-align: left;
}

.pf-button.pf-link:hover {
  text-decoration: underline;
}

.pf-card {
  border: 1px solid var(--jp-border-color2);
  border-radius: 3px;
  margin: 6px 0;
  padding: 6px 8px;
}

.pf-version {
  margin: 0 0 6px;
}

.pf-version small {
  color: var(--jp-ui-font-color2);
  display: block;
}

.pf-panel dl {
  display: grid;
  gap: 2px 10px;
  grid-template-columns: max-content 1fr;
  margin: 6px 0;
}

.pf-panel dt {
  color: var(--jp-ui-font-color2);
}

.pf-panel dd {
  margin: 0;
  overflow-wrap: anywhere;
}

.pf-panel ul {
  margin: 2px 0;
  padding-left: 16px;
}

.pf-panel li {
  overflow-wrap: anywhere;
}

.pf-gauge {
  display: grid;
  gap: 2px 10px;
  grid-template-columns: 1fr max-content;
  margin: 4px 0;
}

.pf-gauge meter {
  grid-column: 1 / -1;
  grid-row: 2;
  width: 100%;
}

.pf-checks {
  border-collapse: collapse;
  width: 100%;
}

.pf-checks th,
.pf-checks td {
  border-bottom: 1px solid var(--jp-border-color3);
  font-weight: normal;
  overflow-wrap: anywhere;
  padding: 3px 6px 3px 0;
  text-align: left;
  vertical-align: top;
}

.pf-checks small {
  color: var(--jp-ui-font-color2);
}

.pf-checks tr {
  border-bottom: 1px solid var(--jp-border-color3);
  display: flex;
  flex-wrap: wrap;
  justify-content: space-between;
}

.pf-checks td {
  border: 0;
  flex: 1 1 auto;
  text-align: right;
}

.pf-checks th {
  border: 0;
  position: relative;
  white-space: nowrap;
}

.pf-verdict {
  color: var(--jp-ui-font-color2);
  display: inline-block;
  font-weight: 600;
  width: 1.3em;
}

.pf-verdict::before {
  content: '–';
}

tr[data-tone='ok'] .pf-verdict::before {
  color: var(--jp-success-color1);
  content: '✓';
}

tr[data-tone='warn'] .pf-verdict::before {
  color: var(--jp-warn-color0);
  content: '!';
}

tr[data-tone='bad'] .pf-verdict::before {
  color: var(--pf-bad);
  content: '✗';
}

.jp-DirListing-item[data-pf-mark] .jp-DirListing-itemText::before {
  font-weight: 700;
  margin-right: 5px;
}

.jp-DirListing-item[data-pf-mark='pending'] .jp-DirListing-itemText::before {
  color: var(--jp-brand-color1);
  content: '●';
}

.jp-DirListing-item[data-pf-mark='conflict'] .jp-DirListing-itemText::before {
  color: var(--pf-bad);
  content: '⚠';
}

.jp-DirListing-item.jp-mod-selected[data-pf-mark] .jp-DirListing-itemText::before {
  color: inherit;
}

.pf-list {
  list-style: none;
}

.pf-panel .pf-list {
  padding-left: 0;
}

.pf-list li {
  align-items: center;
  display: flex;
  flex-wrap: wrap;
  gap: 2px 8px;
  margin: 8px 0;
}

/* The name has a line of its own: in a narrow panel nothing else tells two files apart. */
.pf-list li > span {
  flex: 1 1 100%;
  min-width: 0;
  overflow-wrap: anywhere;
}

.pf-list small {
  color: var(--jp-ui-font-color2);
  flex: 1 1 auto;
}

.pf-list .pf-button {
  flex: none;
}
`,""]),o.d(r,{},{A:p})},314(e){e.exports=function(e){var r=[];return r.toString=function(){return this.map(function(r){var o="",t=void 0!==r[5];return r[4]&&(o+="@supports (".concat(r[4],") {")),r[2]&&(o+="@media ".concat(r[2]," {")),t&&(o+="@layer".concat(r[5].length>0?" ".concat(r[5]):""," {")),o+=e(r),t&&(o+="}"),r[2]&&(o+="}"),r[4]&&(o+="}"),o}).join("")},r.i=function(e,o,t,a,n){"string"==typeof e&&(e=[[null,e,void 0]]);var p={};if(t)for(var i=0;i<this.length;i++){var l=this[i][0];null!=l&&(p[l]=!0)}for(var c=0;c<e.length;c++){var s=[].concat(e[c]);t&&p[s[0]]||(void 0!==n&&(void 0===s[5]||(s[1]="@layer".concat(s[5].length>0?" ".concat(s[5]):""," {").concat(s[1],"}")),s[5]=n),o&&(s[2]&&(s[1]="@media ".concat(s[2]," {").concat(s[1],"}")),s[2]=o),a&&(s[4]?(s[1]="@supports (".concat(s[4],") {").concat(s[1],"}"),s[4]=a):s[4]="".concat(a)),r.push(s))}},r}},601(e){e.exports=function(e){return e[1]}},72(e){var r=[];function o(e){for(var o=-1,t=0;t<r.length;t++)if(r[t].identifier===e){o=t;break}return o}function t(e,t){for(var a={},n=[],p=0;p<e.length;p++){var i=e[p],l=t.base?i[0]+t.base:i[0],c=a[l]||0,s="".concat(l," ").concat(c);a[l]=c+1;var d=o(s),f={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==d)r[d].references++,r[d].updater(f);else{var u=function(e,r){var o=r.domAPI(r);return o.update(e),function(r){r?(r.css!==e.css||r.media!==e.media||r.sourceMap!==e.sourceMap||r.supports!==e.supports||r.layer!==e.layer)&&o.update(e=r):o.remove()}}(f,t);t.byIndex=p,r.splice(p,0,{identifier:s,updater:u,references:1})}n.push(s)}return n}e.exports=function(e,a){var n=t(e=e||[],a=a||{});return function(e){e=e||[];for(var p=0;p<n.length;p++){var i=o(n[p]);r[i].references--}for(var l=t(e,a),c=0;c<n.length;c++){var s=o(n[c]);0===r[s].references&&(r[s].updater(),r.splice(s,1))}n=l}}},659(e){var r={};e.exports=function(e,o){var t=function(e){if(void 0===r[e]){var o=document.querySelector(e);if(window.HTMLIFrameElement&&o instanceof window.HTMLIFrameElement)try{o=o.contentDocument.head}catch(e){o=null}r[e]=o}return r[e]}(e);if(!t)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");t.appendChild(o)}},540(e){e.exports=function(e){var r=document.createElement("style");return e.setAttributes(r,e.attributes),e.insert(r,e.options),r}},56(e,r,o){e.exports=function(e){var r=o.nc;r&&e.setAttribute("nonce",r)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var r=e.insertStyleElement(e);return{update:function(o){var t,a,n;t="",o.supports&&(t+="@supports (".concat(o.supports,") {")),o.media&&(t+="@media ".concat(o.media," {")),(a=void 0!==o.layer)&&(t+="@layer".concat(o.layer.length>0?" ".concat(o.layer):""," {")),t+=o.css,a&&(t+="}"),o.media&&(t+="}"),o.supports&&(t+="}"),(n=o.sourceMap)&&"u">typeof btoa&&(t+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(n))))," */")),e.styleTagTransform(t,r,e.options)},remove:function(){var e;null===(e=r).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,r){if(r.styleSheet)r.styleSheet.cssText=e;else{for(;r.firstChild;)r.removeChild(r.firstChild);r.appendChild(document.createTextNode(e))}}},959(e,r,o){var t=o(72),a=o.n(t),n=o(825),p=o.n(n),i=o(659),l=o.n(i),c=o(56),s=o.n(c),d=o(540),f=o.n(d),u=o(113),h=o.n(u),b=o(646),v={};v.styleTagTransform=h(),v.setAttributes=s(),v.insert=l().bind(null,"head"),v.domAPI=p(),v.insertStyleElement=f(),a()(b.A,v),b.A&&b.A.locals&&b.A.locals}}]);