/** Languages of the mails; they also say how numbers and times are written. */
export const mailLocales = ["en", "de", "es", "pt"] as const;
export type MailLocale = (typeof mailLocales)[number];

export interface MailText {
  subject: string;
  text: string;
  html: string;
}

/** What a mail is made of. Texts may hold anything. */
export interface MailParts {
  /** The subject too. */
  title: string;
  rows: readonly (readonly [name: string, value: string])[];
  /** How it goes on. */
  how?: string | undefined;
  /** Where, on a line of its own. */
  link?: string | undefined;
}

/** Subject and both bodies of a mail, the same facts in each. */
export function mailPage({ title, rows, how, link }: MailParts, locale: MailLocale): MailText {
  return {
    subject: title,
    text: [
      `${title}.`,
      "",
      ...rows.map(([name, value]) => `${name}: ${value}`),
      ...(how ? ["", how] : []),
      ...(link ? [link] : []),
      "",
    ].join("\n"),
    html: page({ title, rows, how, link }, locale),
  };
}

function page({ title, rows, how, link }: MailParts, locale: MailLocale): string {
  const cells = rows.map(
    ([name, value]) =>
      `<tr><th align="left" style="padding:2px 16px 2px 0">${escaped(name)}</th><td>${escaped(value)}</td></tr>`,
  );
  // A path is not clickable; it is what a program asks the API for.
  const anchor =
    link &&
    (/^https?:/.test(link)
      ? `<a href="${escaped(link)}">${escaped(link)}</a>`
      : `<code>${escaped(link)}</code>`);
  return [
    `<!doctype html><html lang="${locale}"><body style="font-family:sans-serif">`,
    `<h2>${escaped(title)}</h2><table>${cells.join("")}</table>`,
    how ? `<p>${escaped(how)}${anchor ? `<br>${anchor}` : ""}</p>` : "",
    "</body></html>",
  ].join("");
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
