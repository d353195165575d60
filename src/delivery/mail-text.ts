import { type MailLocale, type MailText, mailPage } from "./mail-page.js";

/** What a mail tells of a run. Texts may hold anything. */
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

/** Says how a run ended. */
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
  return mailPage({ title, rows, how, link }, locale);
}

function sizeText(bytes: number, number: Intl.NumberFormat): string {
  if (bytes < 1024) return `${number.format(bytes)} B`;
  if (bytes < 1024 ** 2) return `${number.format(bytes / 1024)} KiB`;
  return `${number.format(bytes / 1024 ** 2)} MiB`;
}
