/** Languages of the mails; they also say how numbers and times are written. */
export const mailLocales = ["en", "de", "es", "pt"] as const;
export type MailLocale = (typeof mailLocales)[number];

/** What a mail tells. Texts may hold anything. */
export interface MailFacts {
  kind: "report" | "export";
  ended: "succeeded" | "failed" | "cancelled";
  accountId: string;
  /** Template of a report, dataset of an export. */
  what: string;
  /** Of an export of changes there is none. */
  period?: { from: Date; to: Date };
  timeZone: string;
  file?: {
    name: string;
    rows: number;
    bytes: number;
    /** How its reader gets it. */
    where: "attached" | "expired" | { link: string; until: Date };
  };
  error?: { code: string; message: string };
}

export interface MailText {
  subject: string;
  text: string;
  html: string;
}

const words = {
  en: {
    kind: { report: "Report", export: "Export" },
    ended: { succeeded: "is ready", failed: "could not be finished", cancelled: "was cancelled" },
    rows: {
      account: "Account",
      what: "Content",
      period: "Period",
      file: "File",
      size: "Rows, size",
      reason: "Reason",
    },
    attached: "The file is attached.",
    expired: "The file is no longer kept.",
    link: "The file is too large for a mail. Until {until} it can be downloaded here:",
  },
  de: {
    kind: { report: "Der Bericht", export: "Der Export" },
    ended: { succeeded: "ist fertig", failed: "ist fehlgeschlagen", cancelled: "wurde abgebrochen" },
    rows: {
      account: "Konto",
      what: "Inhalt",
      period: "Zeitraum",
      file: "Datei",
      size: "Zeilen, Größe",
      reason: "Grund",
    },
    attached: "Die Datei hängt an.",
    expired: "Die Datei wird nicht mehr aufbewahrt.",
    link: "Die Datei ist zu groß für eine Mail. Bis {until} lässt sie sich hier herunterladen:",
  },
  es: {
    kind: { report: "El informe", export: "La exportación" },
    ended: { succeeded: "ya está", failed: "ha fallado", cancelled: "se ha cancelado" },
    rows: {
      account: "Cuenta",
      what: "Contenido",
      period: "Período",
      file: "Archivo",
      size: "Filas, tamaño",
      reason: "Motivo",
    },
    attached: "El archivo va adjunto.",
    expired: "El archivo ya no se conserva.",
    link: "El archivo es demasiado grande para un correo. Hasta el {until} se puede descargar aquí:",
  },
  pt: {
    kind: { report: "O relatório", export: "A exportação" },
    ended: { succeeded: "já está", failed: "falhou", cancelled: "teve cancelamento" },
    rows: {
      account: "Conta",
      what: "Conteúdo",
      period: "Período",
      file: "Arquivo",
      size: "Linhas, tamanho",
      reason: "Motivo",
    },
    attached: "O arquivo está anexado.",
    expired: "O arquivo já não está guardado.",
    link: "O arquivo é grande demais para um e-mail. Até {until} pode ser baixado aqui:",
  },
} as const;

/** Subject and both bodies of a mail, the same facts in each. */
export function mailText(facts: MailFacts, locale: MailLocale): MailText {
  const say = words[locale];
  const { file, error, period } = facts;
  const time = new Intl.DateTimeFormat(locale, {
    dateStyle: "medium",
    timeStyle: "short",
    timeZone: facts.timeZone,
  });
  const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const title = `${say.kind[facts.kind]} ${facts.what} ${say.ended[facts.ended]}`;
  const known: [string, string | undefined][] = [
    [say.rows.account, facts.accountId],
    [say.rows.what, facts.what],
    [
      say.rows.period,
      period && `${time.format(period.from)} – ${time.format(period.to)} (${facts.timeZone})`,
    ],
    [say.rows.file, file?.name],
    [say.rows.size, file && `${number.format(file.rows)}, ${sizeText(file.bytes, number)}`],
    [say.rows.reason, error && `${error.message} (${error.code})`],
  ];
  const rows = known.filter((row): row is [string, string] => row[1] !== undefined);
  const link = typeof file?.where === "object" ? file.where.link : undefined;
  const how =
    typeof file?.where === "string"
      ? say[file.where]
      : file && say.link.replace("{until}", time.format(file.where.until));
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
    html: page(locale, title, rows, how, link),
  };
}

function page(
  locale: string,
  title: string,
  rows: readonly [string, string][],
  how: string | undefined,
  link: string | undefined,
): string {
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

function sizeText(bytes: number, number: Intl.NumberFormat): string {
  if (bytes < 1024) return `${number.format(bytes)} B`;
  if (bytes < 1024 ** 2) return `${number.format(bytes / 1024)} KiB`;
  return `${number.format(bytes / 1024 ** 2)} MiB`;
}
