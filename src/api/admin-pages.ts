import { createHash } from "node:crypto";
import type { Response } from "express";

const STYLE = `
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f4f5f7; color: #1c2430;
  font: 16px/1.5 system-ui, sans-serif }
main { width: min(22rem, 90vw); padding: 2rem; background: #fff; border-radius: .5rem;
  box-shadow: 0 1px 4px rgb(0 0 0 / .15) }
h1 { margin: 0 0 1rem; font-size: 1.25rem }
label { display: block; margin-bottom: .25rem }
input, button { box-sizing: border-box; width: 100%; padding: .6rem; font: inherit; border-radius: .25rem }
input { border: 1px solid #8a94a3 }
button { margin-top: 1rem; border: 0; background: #1f5fbf; color: #fff; cursor: pointer }
p[role=alert] { margin: 0 0 1rem; color: #a3161b }
`;

/** Lets a page use our style and post to us, nothing else. */
const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The form that asks for an operator's key. `next` is where to go after it. */
export function sendLoginPage(response: Response, options: { next: string; failed?: boolean }): void {
  const alert = options.failed ? `<p role="alert">This is not the key of an operator or admin.</p>` : "";
  sendPage(
    response.status(options.failed ? 401 : 200),
    "Queues: log in",
    `${alert}<form method="post" action="/admin/login">
<label for="key">API key of an operator or admin</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<input name="next" type="hidden" value="${escapeHtml(options.next)}">
<button>Log in</button>
</form>`,
  );
}

export function sendLogoutPage(response: Response): void {
  sendPage(
    response,
    "Queues: log out",
    `<form method="post" action="/admin/logout"><button autofocus>Log out</button></form>`,
  );
}

function sendPage(response: Response, title: string, content: string): void {
  response.setHeader("content-security-policy", PAGE_POLICY);
  response.type("html").send(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><style>${STYLE}</style></head>
<body><main><h1>${title}</h1>${content}</main></body></html>`);
}

const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
