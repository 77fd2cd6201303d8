"use strict";(self.rspackChunkpreflight_lab=self.rspackChunkpreflight_lab||[]).push([[700],{646(r,t,e){var o=e(601),a=e.n(o),n=e(314),p=(e.n(n))()(a());p.push([r.id,`.pf-status {
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

.pf-verdict {
  font-weight: 600;
  white-space: nowrap;
}

tr[data-tone='ok'] .pf-verdict::before {
  color: var(--jp-success-color1);
  content: '✓ ';
}

tr[data-tone='warn'] .pf-verdict::before {
  color: var(--jp-warn-color0);
  content: '! ';
}

tr[data-tone='bad'] .pf-verdict::before {
  color: #d3002d;
  content: '✗ ';
}

.jp-DirListing-item[data-pf-mark] .jp-DirListing-itemText::after {
  font-weight: 700;
  margin-left: 6px;
}

.jp-DirListing-item[data-pf-mark='pending'] .jp-DirListing-itemText::after {
  color: var(--jp-brand-color1);
  content: '●';
}

.jp-DirListing-item[data-pf-mark='conflict'] .jp-DirListing-itemText::after {
  color: #d3002d;
  content: '⚠';
}

.jp-DirListing-item.jp-mod-selected[data-pf-mark] .jp-DirListing-itemText::after {
  color: inherit;
}
`,""]),e.d(t,{},{A:p})},314(r){r.exports=function(r){var t=[];return t.toString=function(){return this.map(function(t){var e="",o=void 0!==t[5];return t[4]&&(e+="@supports (".concat(t[4],") {")),t[2]&&(e+="@media ".concat(t[2]," {")),o&&(e+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),e+=r(t),o&&(e+="}"),t[2]&&(e+="}"),t[4]&&(e+="}"),e}).join("")},t.i=function(r,e,o,a,n){"string"==typeof r&&(r=[[null,r,void 0]]);var p={};if(o)for(var i=0;i<this.length;i++){var c=this[i][0];null!=c&&(p[c]=!0)}for(var d=0;d<r.length;d++){var l=[].concat(r[d]);o&&p[l[0]]||(void 0!==n&&(void 0===l[5]||(l[1]="@layer".concat(l[5].length>0?" ".concat(l[5]):""," {").concat(l[1],"}")),l[5]=n),e&&(l[2]&&(l[1]="@media ".concat(l[2]," {").concat(l[1],"}")),l[2]=e),a&&(l[4]?(l[1]="@supports (".concat(l[4],") {").concat(l[1],"}"),l[4]=a):l[4]="".concat(a)),t.push(l))}},t}},601(r){r.exports=function(r){return r[1]}},72(r){var t=[];function e(r){for(var e=-1,o=0;o<t.length;o++)if(t[o].identifier===r){e=o;break}return e}function o(r,o){for(var a={},n=[],p=0;p<r.length;p++){var i=r[p],c=o.base?i[0]+o.base:i[0],d=a[c]||0,l="".concat(c," ").concat(d);a[c]=d+1;var s=e(l),f={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==s)t[s].references++,t[s].updater(f);else{var u=function(r,t){var e=t.domAPI(t);return e.update(r),function(t){t?(t.css!==r.css||t.media!==r.media||t.sourceMap!==r.sourceMap||t.supports!==r.supports||t.layer!==r.layer)&&e.update(r=t):e.remove()}}(f,o);o.byIndex=p,t.splice(p,0,{identifier:l,updater:u,references:1})}n.push(l)}return n}r.exports=function(r,a){var n=o(r=r||[],a=a||{});return function(r){r=r||[];for(var p=0;p<n.length;p++){var i=e(n[p]);t[i].references--}for(var c=o(r,a),d=0;d<n.length;d++){var l=e(n[d]);0===t[l].references&&(t[l].updater(),t.splice(l,1))}n=c}}},659(r){var t={};r.exports=function(r,e){var o=function(r){if(void 0===t[r]){var e=document.querySelector(r);if(window.HTMLIFrameElement&&e instanceof window.HTMLIFrameElement)try{e=e.contentDocument.head}catch(r){e=null}t[r]=e}return t[r]}(r);if(!o)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");o.appendChild(e)}},540(r){r.exports=function(r){var t=document.createElement("style");return r.setAttributes(t,r.attributes),r.insert(t,r.options),t}},56(r,t,e){r.exports=function(r){var t=e.nc;t&&r.setAttribute("nonce",t)}},825(r){r.exports=function(r){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=r.insertStyleElement(r);return{update:function(e){var o,a,n;o="",e.supports&&(o+="@supports (".concat(e.supports,") {")),e.media&&(o+="@media ".concat(e.media," {")),(a=void 0!==e.layer)&&(o+="@layer".concat(e.layer.length>0?" ".concat(e.layer):""," {")),o+=e.css,a&&(o+="}"),e.media&&(o+="}"),e.supports&&(o+="}"),(n=e.sourceMap)&&"u">typeof btoa&&(o+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(n))))," */")),r.styleTagTransform(o,t,r.options)},remove:function(){var r;null===(r=t).parentNode||r.parentNode.removeChild(r)}}}},113(r){r.exports=function(r,t){if(t.styleSheet)t.styleSheet.cssText=r;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(r))}}},959(r,t,e){var o=e(72),a=e.n(o),n=e(825),p=e.n(n),i=e(659),c=e.n(i),d=e(56),l=e.n(d),s=e(540),f=e.n(s),u=e(113),g=e.n(u),v=e(646),h={};h.styleTagTransform=g(),h.setAttributes=l(),h.insert=c().bind(null,"head"),h.domAPI=p(),h.insertStyleElement=f(),a()(v.A,h),v.A&&v.A.locals&&v.A.locals}}]);