import { readArtifact } from "../db/queries/artifacts.js";
import type { Delivery } from "../db/queries/deliveries.js";
import type { Run } from "../db/queries/runs.js";
import { DeliveryFailure } from "../delivery/delivery-failure.js";
import type { MailLocale } from "../delivery/mail-page.js";
import { type MailFacts, mailText } from "../delivery/mail-text.js";
import type { Mail, Mailer } from "../delivery/mailer.js";
import { scheduleMailText } from "../delivery/schedule-mail-text.js";
import { openSegments } from "../exports/artifacts/segments.js";
import type { JobContext } from "./define-job.js";
import { linkForPeople } from "./download-link.js";
import type { DisabledSchedule } from "./schedule-disabled-notice.js";

/**
 * One attempt to mail somebody how a run ended, or without a run that a schedule was switched off. Rejects with a
 * `DeliveryFailure`, or the signal's reason.
 */
export async function sendMail(
  delivery: Delivery,
  run: Run | undefined,
  mailer: Mailer,
  context: JobContext,
): Promise<void> {
  const { to, subject } = delivery.mail!;
  const mail = run ? await mailOfRun(delivery, run, mailer, context) : mailOfSchedule(delivery);
  await mailer.send(
    { ...mail, ...(subject ? { subject } : {}), id: delivery.delivery_id, to },
    context.signal,
  );
}

type MailContent = Omit<Mail, "id" | "to">;

/** With its file where it is small enough, else with a link. */
async function mailOfRun(
  delivery: Delivery,
  run: Run,
  mailer: Mailer,
  context: JobContext,
): Promise<MailContent> {
  const attachment = await attachmentOf(run, mailer, context);
  const link = attachment ? undefined : await linkForPeople(run, `delivery ${delivery.delivery_id}`, context);
  const where = attachment ? "attached" : (link ?? "expired");
  return { ...mailText(factsOf(run, where), localeOf(delivery)), ...(attachment && { attachment }) };
}

function mailOfSchedule(delivery: Delivery): MailContent {
  const { id, name, time_zone: timeZone, disabled } = delivery.data!.schedule as DisabledSchedule;
  const facts = {
    ...{ accountId: delivery.account_id, name, timeZone, error: disabled! },
    since: new Date(disabled!.at),
    resume: `POST /analytics/schedules/${id}/resume`,
  };
  return scheduleMailText(facts, localeOf(delivery));
}

const localeOf = ({ mail }: Delivery) => (mail!.locale ?? "en") as MailLocale;

async function attachmentOf(
  run: Run,
  mailer: Mailer,
  { db, artifacts, now }: Pick<JobContext, "db" | "artifacts" | "now">,
): Promise<Mail["attachment"] | undefined> {
  const { file } = run;
  if (!file || file.removed || new Date(file.expires_at) <= now()) return undefined;
  if (file.bytes > mailer.attachmentMaxBytes) return undefined;
  const content = await openSegments(artifacts, (await readArtifact(db, run))!.segments);
  if (!content) throw new DeliveryFailure("file_missing");
  return { name: file.file_name, contentType: file.content_type, content };
}

function factsOf(run: Run, where: NonNullable<MailFacts["file"]>["where"]): MailFacts {
  const { file, error } = run;
  // As it was asked for, and so as it was checked then.
  const asked = run.params as Partial<Record<"template" | "dataset" | "from" | "to" | "time_zone", string>>;
  return {
    kind: run.kind === "report" ? "report" : "export",
    ended: run.status as MailFacts["ended"],
    accountId: run.account_id,
    what: asked.template ?? asked.dataset ?? "",
    ...(asked.from && asked.to && { period: { from: new Date(asked.from), to: new Date(asked.to) } }),
    timeZone: asked.time_zone ?? "UTC",
    ...(file && { file: { name: file.file_name, rows: file.rows, bytes: file.bytes, where } }),
    ...(error && { error }),
  };
}
