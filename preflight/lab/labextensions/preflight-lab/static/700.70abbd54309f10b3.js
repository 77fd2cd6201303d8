"use strict";(self.rspackChunkpreflight_lab=self.rspackChunkpreflight_lab||[]).push([[700],{646(r,e,o){var t=o(601),n=o.n(t),a=o(314),p=(o.n(a))()(n());p.push([r.id,`.pf-status {
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
  border-color: #d3002d;
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
  color: #d3002d;
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
  color: #d3002d;
  content: '⚠';
}

.jp-DirListing-item.jp-mod-selected[data-pf-mark] .jp-DirListing-itemText::before {
  color: inherit;
}
`,""]),o.d(e,{},{A:p})},314(r){r.exports=function(r){var e=[];return e.toString=function(){return this.map(function(e){var o="",t=void 0!==e[5];return e[4]&&(o+="@supports (".concat(e[4],") {")),e[2]&&(o+="@media ".concat(e[2]," {")),t&&(o+="@layer".concat(e[5].length>0?" ".concat(e[5]):""," {")),o+=r(e),t&&(o+="}"),e[2]&&(o+="}"),e[4]&&(o+="}"),o}).join("")},e.i=function(r,o,t,n,a){"string"==typeof r&&(r=[[null,r,void 0]]);var p={};if(t)for(var i=0;i<this.length;i++){var c=this[i][0];null!=c&&(p[c]=!0)}for(var d=0;d<r.length;d++){var l=[].concat(r[d]);t&&p[l[0]]||(void 0!==a&&(void 0===l[5]||(l[1]="@layer".concat(l[5].length>0?" ".concat(l[5]):""," {").concat(l[1],"}")),l[5]=a),o&&(l[2]&&(l[1]="@media ".concat(l[2]," {").concat(l[1],"}")),l[2]=o),n&&(l[4]?(l[1]="@supports (".concat(l[4],") {").concat(l[1],"}"),l[4]=n):l[4]="".concat(n)),e.push(l))}},e}},601(r){r.exports=function(r){return r[1]}},72(r){var e=[];function o(r){for(var o=-1,t=0;t<e.length;t++)if(e[t].identifier===r){o=t;break}return o}function t(r,t){for(var n={},a=[],p=0;p<r.length;p++){var i=r[p],c=t.base?i[0]+t.base:i[0],d=n[c]||0,l="".concat(c," ").concat(d);n[c]=d+1;var s=o(l),f={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==s)e[s].references++,e[s].updater(f);else{var u=function(r,e){var o=e.domAPI(e);return o.update(r),function(e){e?(e.css!==r.css||e.media!==r.media||e.sourceMap!==r.sourceMap||e.supports!==r.supports||e.layer!==r.layer)&&o.update(r=e):o.remove()}}(f,t);t.byIndex=p,e.splice(p,0,{identifier:l,updater:u,references:1})}a.push(l)}return a}r.exports=function(r,n){var a=t(r=r||[],n=n||{});return function(r){r=r||[];for(var p=0;p<a.length;p++){var i=o(a[p]);e[i].references--}for(var c=t(r,n),d=0;d<a.length;d++){var l=o(a[d]);0===e[l].references&&(e[l].updater(),e.splice(l,1))}a=c}}},659(r){var e={};r.exports=function(r,o){var t=function(r){if(void 0===e[r]){var o=document.querySelector(r);if(window.HTMLIFrameElement&&o instanceof window.HTMLIFrameElement)try{o=o.contentDocument.head}catch(r){o=null}e[r]=o}return e[r]}(r);if(!t)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");t.appendChild(o)}},540(r){r.exports=function(r){var e=document.createElement("style");return r.setAttributes(e,r.attributes),r.insert(e,r.options),e}},56(r,e,o){r.exports=function(r){var e=o.nc;e&&r.setAttribute("nonce",e)}},825(r){r.exports=function(r){if("u"<typeof document)return{update:function(){},remove:function(){}};var e=r.insertStyleElement(r);return{update:function(o){var t,n,a;t="",o.supports&&(t+="@supports (".concat(o.supports,") {")),o.media&&(t+="@media ".concat(o.media," {")),(n=void 0!==o.layer)&&(t+="@layer".concat(o.layer.length>0?" ".concat(o.layer):""," {")),t+=o.css,n&&(t+="}"),o.media&&(t+="}"),o.supports&&(t+="}"),(a=o.sourceMap)&&"u">typeof btoa&&(t+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),r.styleTagTransform(t,e,r.options)},remove:function(){var r;null===(r=e).parentNode||r.parentNode.removeChild(r)}}}},113(r){r.exports=function(r,e){if(e.styleSheet)e.styleSheet.cssText=r;else{for(;e.firstChild;)e.removeChild(e.firstChild);e.appendChild(document.createTextNode(r))}}},959(r,e,o){var t=o(72),n=o.n(t),a=o(825),p=o.n(a),i=o(659),c=o.n(i),d=o(56),l=o.n(d),s=o(540),f=o.n(s),u=o(113),v=o.n(u),b=o(646),g={};g.styleTagTransform=v(),g.setAttributes=l(),g.insert=c().bind(null,"head"),g.domAPI=p(),g.insertStyleElement=f(),n()(b.A,g),b.A&&b.A.locals&&b.A.locals}}]);