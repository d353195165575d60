import { Readable } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import type { DeliveryFailure } from "../../src/delivery/delivery-failure.js";
import { createMailer, type Mail, type Mailer, mailTimeouts } from "../../src/delivery/mailer.js";
import { makeCertificate } from "../support/certificate.js";
import { refusal, startMailServer } from "../support/mail-server.js";

const mail: Mail = {
  id: "5f2b7b58-3f8e-4a5e-9f0d-1f6f5f6c7a10",
  to: "reader@example.com",
  subject: "Bericht für März 🌿",
  text: "Zeile eins\n.\nZeile drei",
  html: "<p>Bericht für März</p>",
};
const from = "Analytics <reports@shop.example>";
const never = new AbortController().signal;

const mailerTo = (url: string, more: object = {}) =>
  createMailer({ smtpUrl: url, from, attachmentMaxBytes: 1_000 }, { ...mailTimeouts, ...more });
const send = (mailer: Mailer, more: Partial<Mail> = {}) => mailer.send({ ...mail, ...more }, never);
const failure = (sending: Promise<unknown>) =>
  sending.then(
    () => ({ code: "sent" }),
    ({ code, status, permanent }: DeliveryFailure) => ({ code, status, permanent }),
  );

async function server(options: Parameters<typeof startMailServer>[0] = {}) {
  const started = await startMailServer(options);
  onTestFinished(() => started[Symbol.asyncDispose]());
  return started;
}

describe("a mail", () => {
  it("arrives with both texts, a stable id, and nobody but its reader", async () => {
    const { port, mails } = await server();
    const mailer = mailerTo(`smtp://127.0.0.1:${port}`);
    await send(mailer);
    await send(mailer);
    const [first, second] = mails;
    expect(first!.envelope).toEqual({ from: "reports@shop.example", to: ["reader@example.com"] });
    expect(first!.mail.subject).toBe(mail.subject);
    expect(first!.mail.text!.trimEnd()).toBe(mail.text);
    expect(first!.mail.html).toBe(mail.html);
    expect(first!.mail.from!.text).toBe('"Analytics" <reports@shop.example>');
    expect(first!.mail.messageId).toBe(`<${mail.id}@shop.example>`);
    expect(second!.mail.messageId).toBe(first!.mail.messageId);
    expect(first!.mail.headers.get("auto-submitted")).toBe("auto-generated");
  });

  it("brings its attachment byte for byte, read as a stream and closed", async () => {
    const { port, mails } = await server();
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    const content = Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)]);
    await send(mailerTo(`smtp://127.0.0.1:${port}`), {
      attachment: { name: "bericht-für-märz.xlsx", contentType: "application/zip", content },
    });
    const [attachment] = mails[0]!.mail.attachments;
    expect(attachment).toMatchObject({ filename: "bericht-für-märz.xlsx", contentType: "application/zip" });
    expect(attachment!.content.equals(bytes)).toBe(true);
    expect(content.destroyed).toBe(true);
  });

  it("whose file cannot be read is not sent in part, and says nothing of the server", async () => {
    const { port, mails } = await server();
    const mailer = mailerTo(`smtp://127.0.0.1:${port}`);
    const content = new Readable({
      read() {
        this.destroy(new Error("the disk is gone"));
      },
    });
    const attachment = { name: "a.csv", contentType: "text/csv", content };
    expect(await failure(send(mailer, { attachment }))).toMatchObject({
      code: "file_unreadable",
      permanent: false,
    });
    expect(mails).toEqual([]);
    expect(mailer.isFree()).toBe(true);
  });

  it("cannot be given headers or readers by its subject or address", async () => {
    const { port, mails } = await server();
    const mailer = mailerTo(`smtp://127.0.0.1:${port}`);
    await send(mailer, { subject: "Hello\r\nBcc: all@example.com\r\n\r\nBody" });
    expect(mails[0]!.envelope.to).toEqual(["reader@example.com"]);
    expect(mails[0]!.mail.bcc).toBeUndefined();
    expect(mails[0]!.raw).not.toMatch(/^Bcc:/im);
    expect(mails[0]!.mail.text!.trimEnd()).toBe(mail.text);
    for (const to of [
      "a@example.com\r\nRCPT TO:<b@example.com>",
      "a@example.com>\r\nDATA",
      "a@example.com, b@example.com",
    ])
      await send(mailer, { to }).catch(() => {});
    for (const { envelope } of mails) expect(envelope.to).not.toContain("b@example.com");
  });
});

describe("what the server says", () => {
  it.each([
    [
      "grey listing of the address",
      { onRcptTo: 451 },
      { code: "mail_refused", status: 451, permanent: false },
    ],
    [
      "an address that it does not know",
      { onRcptTo: 550 },
      { code: "mail_refused", status: 550, permanent: true },
    ],
    [
      "a mail that it finds too large",
      { onData: 552 },
      { code: "mail_refused", status: 552, permanent: true },
    ],
    ["a full disk of its own", { onData: 452 }, { code: "mail_refused", status: 452, permanent: false }],
    [
      "a sender that it does not want",
      { onMailFrom: 553 },
      { code: "mail_server_failed", status: 553, permanent: false },
    ],
  ])("%s: tried again or not", async (_title, refused: Record<string, number>, expected) => {
    const refuse =
      (status: number) =>
      (...given: unknown[]) => {
        const [stream] = given;
        if (stream instanceof Readable) stream.resume();
        (given.at(-1) as (error: Error) => void)(refusal(status, "5.1.1 the words of the server"));
      };
    const hooks = Object.fromEntries(Object.entries(refused).map(([hook, status]) => [hook, refuse(status)]));
    const { port } = await server(hooks);
    expect(await failure(send(mailerTo(`smtp://127.0.0.1:${port}`)))).toEqual(expected);
  });
});

describe("the way to the server", () => {
  it("a password goes over TLS or not at all", async () => {
    const { cert, key } = await makeCertificate("localhost");
    const logins: string[] = [];
    const onAuth = (
      auth: { password?: string },
      _session: unknown,
      done: (error: Error | null, user?: object) => void,
    ) => {
      logins.push(auth.password!);
      if (auth.password === "right") done(null, { user: 1 });
      else done(new Error("no"));
    };
    const plain = await server({ onAuth: onAuth as never, allowInsecureAuth: true });
    expect(await failure(send(mailerTo(`smtp://me:right@127.0.0.1:${plain.port}`)))).toMatchObject({
      code: "tls_failed",
    });
    expect(logins).toEqual([]);

    const secured = await server({ key, cert, onAuth: onAuth as never, authOptional: false });
    const trusting = "?tls.rejectUnauthorized=false";
    await send(mailerTo(`smtp://me:right@127.0.0.1:${secured.port}/${trusting}`));
    expect(secured.mails).toMatchObject([{ secure: true }]);
    expect(
      await failure(send(mailerTo(`smtp://me:wrong@127.0.0.1:${secured.port}/${trusting}`))),
    ).toMatchObject({
      code: "mail_login_failed",
      permanent: false,
    });
    // Nobody vouches for its certificate.
    expect(await failure(send(mailerTo(`smtp://me:right@127.0.0.1:${secured.port}`)))).toMatchObject({
      code: "mail_server_failed",
    });
    expect(logins).toEqual(["right", "wrong"]);
  });

  it("a server that is away is left alone for a while, then asked by one mail", async () => {
    const free = await startMailServer();
    await free[Symbol.asyncDispose]();
    const mailer = mailerTo(`smtp://127.0.0.1:${free.port}`);
    expect(mailer.isFree()).toBe(true);
    expect(await failure(send(mailer))).toMatchObject({ code: "mail_server_failed", permanent: false });
    await expect.poll(() => mailer.isFree()).toBe(true);
    const probe = send(mailer).catch(() => {});
    expect(mailer.isFree()).toBe(false);
    await probe;
  });

  it("no more than four mails at once", async () => {
    let release: (() => void)[] = [];
    const { port, mails } = await server({
      onMailFrom: (_address, _session, done) => void release.push(() => done()),
    });
    const mailer = mailerTo(`smtp://127.0.0.1:${port}`);
    const sending = [1, 2, 3, 4].map(() => {
      expect(mailer.isFree()).toBe(true);
      return send(mailer);
    });
    expect(mailer.isFree()).toBe(false);
    await expect.poll(() => release.length).toBe(4);
    for (const go of release) go();
    release = [];
    await Promise.all(sending);
    expect(mails).toHaveLength(4);
    expect(mailer.isFree()).toBe(true);
  });
});
