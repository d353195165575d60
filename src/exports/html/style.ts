import { createHash } from "node:crypto";

/** The whole style of a page. Nothing in it is fetched: fonts are those of the system. */
export const style = `
:root{color-scheme:light dark;--page:#f5f6f7;--card:#fff;--ink:#16202a;--soft:#5b6875;--line:#dfe4e8;--grid:#e8ecef;
--c1:#0b7a70;--c2:#2f5fd0;--c3:#c46a08;--c4:#b02a6b;--c5:#6b4fc0;--c6:#4d7c0f;--heat:#0b7a70;--band:#0b7a70;--none:#eceff1;--note:#fff7e6;--note-line:#e8c27a}
@media (prefers-color-scheme:dark){:root{--page:#11161b;--card:#1a2128;--ink:#e8edf1;--soft:#9aa7b3;--line:#2d3740;--grid:#28313a;
--c1:#3fc5b5;--c2:#86a8ff;--c3:#f0a04b;--c4:#f07fb3;--c5:#b19cf5;--c6:#a3cf5b;--heat:#3fc5b5;--band:#3fc5b5;--none:#232c34;--note:#2c2616;--note-line:#7a6229}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
main{max-width:1080px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:28px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:18px;line-height:1.3;margin:0 0 4px}
h3{font-size:13px;font-weight:600;margin:0 0 6px;color:var(--soft)}
p{margin:0 0 10px}
.soft{color:var(--soft)}
dl.facts{display:flex;flex-wrap:wrap;gap:8px 28px;margin:16px 0 0;padding:0}
dl.facts div{min-width:0}
dl.facts dt{font-size:12px;color:var(--soft)}
dl.facts dd{margin:0;font-weight:500}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0 0}
.notes{background:var(--note);border-color:var(--note-line)}
.notes ul{margin:4px 0 0;padding-left:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:18px 16px;margin:14px 0 0}
.tile{display:flex;flex-direction:column;border-left:3px solid var(--line);padding:0 0 0 12px}
.tile .name{font-size:12px;color:var(--soft);line-height:1.35}
.tile .figure{margin-top:auto;white-space:nowrap;font-size:23px;font-weight:600;line-height:1.3;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile .beside{font-size:12px;color:var(--soft)}
.tile b{color:var(--ink);font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:18px 28px;margin:12px 0 0}
.wide{grid-column:1/-1}
.panel{min-width:0}
.scroll{overflow-x:auto}
svg.chart{display:block;max-width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
.panel svg.chart{width:100%}.panel:not(.wide) svg.chart{max-width:480px}
svg text{fill:var(--soft)}svg text.label{fill:var(--ink)}svg text.strong{fill:var(--ink);font-weight:600}
.end{text-anchor:end}.middle{text-anchor:middle}
.grid{stroke:var(--grid);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.c2{stroke-dasharray:7 4}.line.c3{stroke-dasharray:2 4}.line.c4{stroke-dasharray:9 4 2 4}.line.c5{stroke-dasharray:4 3}.line.c6{stroke-dasharray:12 4}
.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}.line.c5{stroke:var(--c5)}.line.c6{stroke:var(--c6)}
.point.c1,.bar.c1{fill:var(--c1)}.point.c2,.bar.c2{fill:var(--c2)}.point.c3,.bar.c3{fill:var(--c3)}.point.c4,.bar.c4{fill:var(--c4)}.point.c5,.bar.c5{fill:var(--c5)}.point.c6,.bar.c6{fill:var(--c6)}
.cell{fill:var(--heat)}.cell.none{fill:var(--none)}
.band{fill:none;stroke:var(--band);stroke-opacity:.32}
.node,.swatch{fill:var(--c1)}.inbound{fill:var(--c2)}.template{fill:var(--c3)}.button{fill:var(--c4)}
svg text.halo{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
ul.legend{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:0 0 4px;padding:0;font-size:13px}
ul.legend .swatch{stroke:none}ul.legend svg{vertical-align:middle;margin-right:6px}
details{margin:14px 0 0}
summary{cursor:pointer;color:var(--soft);font-size:13px}
.table{overflow-x:auto;margin:10px 0 0}
table{border-collapse:collapse;font-size:13px;min-width:100%}
th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:normal}
thead th{font-weight:600;color:var(--soft);vertical-align:bottom}
tbody th{font-weight:500;max-width:340px;min-width:90px;overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
thead th.n{white-space:normal;min-width:74px}
.none{color:var(--soft)}
caption{text-align:left;font-size:12px;color:var(--soft);padding:0 0 4px}
footer{margin:22px 0 0;font-size:12px;color:var(--soft)}
@media (max-width:640px){main{padding:18px 12px 32px}.card{padding:14px}h1{font-size:23px}.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:14px 10px}.tile .figure{font-size:19px}.wide .scroll svg.chart{width:auto;max-width:none;min-width:620px}}
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--grid:#ddd;--c1:#0b7a70;--c2:#2f5fd0;--c3:#c46a08;--c4:#b02a6b;--c5:#6b4fc0;--c6:#4d7c0f;--heat:#0b7a70;--band:#0b7a70;--none:#eee;--note:#fff;--note-line:#888}
@page{margin:14mm}body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}main{max-width:none;padding:0}.card{border-width:0;border-top-width:1px;border-radius:0;padding:10px 0 0}.tiles,.panel,tr,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}summary{display:none}details::details-content{content-visibility:visible;display:block}.table,.scroll{overflow:visible}table{font-size:8pt;min-width:0}th,td{padding:3px 5px}thead th.n{min-width:0}tbody th{min-width:50px}table.dense{font-size:5.5pt;table-layout:fixed;width:100%}table.dense th,table.dense td{padding:2px 1px;min-width:0;white-space:normal;overflow-wrap:anywhere}}
`;

/** The one style that the page's policy lets in. */
export const styleHash: string = createHash("sha256").update(style).digest("base64");
