import { type MailLocale, type MailText, mailPage } from "./mail-page.js";

/** What a mail tells of a schedule that was switched off. Texts may hold anything. */
export interface ScheduleMailFacts {
  accountId: string;
  name: string;
  since: Date;
  timeZone: string;
  error: { code: string; message: string };
  /** What switches it on again. */
  resume: string;
}

const words = {
  en: {
    title: "Schedule {name} is switched off",
    rows: { account: "Account", name: "Schedule", since: "Since", reason: "Reason" },
    how: "Its last runs have all failed because of what it asks for. A change of its request (PATCH) switches it on again, or as it is:",
  },
  de: {
    title: "Der Zeitplan {name} ist abgeschaltet",
    rows: { account: "Konto", name: "Zeitplan", since: "Seit", reason: "Grund" },
    how: "Seine letzten Läufe sind alle an dem gescheitert, was er verlangt. Eine Änderung seines Auftrags (PATCH) schaltet ihn wieder ein, oder unverändert:",
  },
  es: {
    title: "La programación {name} está desactivada",
    rows: { account: "Cuenta", name: "Programación", since: "Desde", reason: "Motivo" },
    how: "Sus últimas ejecuciones han fallado todas por lo que pide. Un cambio de su solicitud (PATCH) la activa de nuevo, o tal como está:",
  },
  pt: {
    title: "O agendamento {name} está desativado",
    rows: { account: "Conta", name: "Agendamento", since: "Desde", reason: "Motivo" },
    how: "Suas últimas execuções falharam todas por causa do que ele pede. Uma mudança do seu pedido (PATCH) o ativa de novo, ou como está:",
  },
} as const;

/** Says which schedule was switched off, since when, why, and how it is switched on again. */
export function scheduleMailText(facts: ScheduleMailFacts, locale: MailLocale): MailText {
  const say = words[locale];
  const { accountId, since, timeZone, error, resume } = facts;
  const name = oneLine(facts.name);
  const time = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short", timeZone });
  return mailPage(
    {
      // Not as a pattern: a name may hold what `replace` reads as one.
      title: say.title.replace("{name}", () => name),
      rows: [
        [say.rows.account, accountId],
        [say.rows.name, name],
        [say.rows.since, `${time.format(since)} (${timeZone})`],
        [say.rows.reason, `${error.message} (${error.code})`],
      ],
      how: say.how,
      link: resume,
    },
    locale,
  );
}

/** A name may hold any text, and a subject is one line. */
const oneLine = (text: string) => text.replace(/[\s\p{Cc}]+/gu, " ");
