import type { Readable } from "node:stream";
import { createTransport } from "nodemailer";
import { startDeadline } from "../deadline.js";
import { DeliveryFailure } from "./delivery-failure.js";
import { restMs } from "./retry-schedule.js";

export interface MailSettings {
  /** The operator's, so it is trusted: it may well be inside. */
  smtpUrl: string;
  from: string;
  attachmentMaxBytes: number;
}

export interface Mail {
  /** The same for every attempt: whoever has the mail already may drop the copy. */
  id: string;
  to: string;
  subject: string;
  text: string;
  html: string;
  attachment?: { name: string; contentType: string; content: Readable };
}

export interface Mailer {
  attachmentMaxBytes: number;
  /** A mail takes no longer. */
  totalMs: number;
  /** Whether another mail may be sent now. A server that is away must not hold what others need. */
  isFree(): boolean;
  /** Resolves when the server has taken the mail. Rejects with a `DeliveryFailure`, or the signal's reason. */
  send(mail: Mail, signal: AbortSignal): Promise<void>;
}

export interface MailTimeouts {
  /** To find the server, connect and be greeted. */
  connectMs: number;
  /** Without a word from it. */
  silenceMs: number;
  /** All of one mail, with its attachment. */
  totalMs: number;
}

export const mailTimeouts: MailTimeouts = { connectMs: 10_000, silenceMs: 30_000, totalMs: 120_000 };

/** Connections of one process; servers count them. */
const MAX_AT_ONCE = 4;

/**
 * Sends mails through one SMTP server, a connection each. Opens nothing until the first. A server that is away is left
 * alone for half as long as it has been, and then asked by one mail.
 */
export function createMailer(settings: MailSettings, timeouts = mailTimeouts): Mailer {
  const transport = createTransport({
    url: settings.smtpUrl,
    connectionTimeout: timeouts.connectMs,
    greetingTimeout: timeouts.connectMs,
    dnsTimeout: timeouts.connectMs,
    socketTimeout: timeouts.silenceMs,
    // A password goes over TLS or not at all.
    requireTLS: new URL(settings.smtpUrl).username !== "",
    tls: { minVersion: "TLSv1.2" },
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const domain = settings.from.replace(/^.*@|>$/g, "");
  let sending = 0;
  let failingSince: number | undefined;
  let resumeAt = 0;
  return {
    attachmentMaxBytes: settings.attachmentMaxBytes,
    totalMs: timeouts.totalMs,
    isFree: () =>
      failingSince === undefined ? sending < MAX_AT_ONCE : sending === 0 && performance.now() >= resumeAt,
    async send(mail, signal) {
      using deadline = startDeadline(timeouts.totalMs, [signal]);
      const startedAt = performance.now();
      sending++;
      try {
        await transport.sendMail({
          from: settings.from,
          to: { name: "", address: mail.to },
          subject: mail.subject,
          text: mail.text,
          html: mail.html,
          messageId: `<${mail.id}@${domain}>`,
          headers: { "auto-submitted": "auto-generated" },
          ...(mail.attachment && {
            attachments: [
              {
                filename: mail.attachment.name,
                contentType: mail.attachment.contentType,
                content: mail.attachment.content,
              },
            ],
          }),
          signal: deadline.signal,
        });
        failingSince = undefined;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        const failure = deadline.isLate()
          ? new DeliveryFailure("timeout", { cause: error })
          : failureOf(error);
        // An answer about this mail says that the server is there; a file that cannot be read says nothing of it.
        if (failure.code === "mail_refused") failingSince = undefined;
        else if (failure.code !== "file_unreadable") {
          failingSince ??= startedAt;
          resumeAt = performance.now() + restMs(performance.now() - failingSince);
        }
        throw failure;
      } finally {
        sending--;
        mail.attachment?.content.destroy();
      }
    },
  };
}

interface SmtpError {
  code?: string;
  responseCode?: number;
  command?: string;
}

const NETWORK_FAILURES: Record<string, string> = {
  EAUTH: "mail_login_failed",
  ETLS: "tls_failed",
  ETIMEDOUT: "timeout",
  EDNS: "unknown_host",
  ESTREAM: "file_unreadable",
};

/**
 * What the server said of the address or of the mail itself is final with 5xx; what it said of us (the login, the sender) is
 * the operator's to mend, and with 4xx (grey listing, a full mailbox) it wants to be asked again.
 */
function failureOf(error: unknown): DeliveryFailure {
  const { code = "", responseCode: status, command = "" } = error as SmtpError;
  // Without its words, which name the address: they would end up in the log.
  if (status !== undefined && ["RCPT TO", "DATA"].includes(command))
    return new DeliveryFailure("mail_refused", { status, permanent: status >= 500 });
  return new DeliveryFailure(NETWORK_FAILURES[code] ?? "mail_server_failed", {
    ...(status === undefined ? {} : { status }),
    cause: error,
  });
}
