import { expect, it } from "vitest";
import { notifyTargets } from "../../src/jobs/notify-targets.js";

const pathsOf = (value: unknown) =>
  notifyTargets.safeParse(value).error?.issues.map((issue) => issue.path.join(".")) ?? [];
const id = "5f2b7b58-3f8e-4a5e-9f0d-1f6f5f6c7a10";
const mail = (more: object) => ({ type: "email", to: ["a@example.com"], ...more });

it("takes endpoints and addresses", () => {
  const targets = [
    { type: "webhook", endpoint_id: id.toUpperCase() },
    mail({ subject: "Zahlen für März 🌿", locale: "de" }),
  ];
  expect(notifyTargets.parse(targets)).toEqual([{ type: "webhook", endpoint_id: id }, targets[1]]);
});

it.each([
  ["a header after the subject", [mail({ subject: "Hello\r\nBcc: all@example.com" })], "0.subject"],
  ["a bare line feed", [mail({ subject: "Hello\nBcc: all@example.com" })], "0.subject"],
  ["a line separator", [mail({ subject: "Hello\u2028Bcc: all@example.com" })], "0.subject"],
  ["NUL", [mail({ subject: "Hello\0" })], "0.subject"],
  ["half a character", [mail({ subject: "\ud83c" })], "0.subject"],
  ["a header after the address", [mail({ to: ["a@example.com\r\nBcc: b@example.com"] })], "0.to.0"],
  ["several addresses in one", [mail({ to: ["a@example.com,b@example.com"] })], "0.to.0"],
  ["a name with an address", [mail({ to: ["A <a@example.com>"] })], "0.to.0"],
  ["SMTP parameters", [mail({ to: ["a@example.com> NOTIFY=SUCCESS"] })], "0.to.0"],
  ["a quoted local part", [mail({ to: ['"a b"@example.com'] })], "0.to.0"],
  ["no domain", [mail({ to: ["postmaster"] })], "0.to.0"],
  ["21 addresses", [mail({ to: Array.from({ length: 21 }, (_, n) => `a${n}@example.com`) })], "0.to"],
  ["no address", [mail({ to: [] })], "0.to"],
  ["an unknown language", [mail({ locale: "tlh" })], "0.locale"],
  ["an address twice", [mail({}), mail({ to: ["b@example.com", "A@example.com"] })], "1.to.1"],
  [
    "an endpoint twice",
    [
      { type: "webhook", endpoint_id: id },
      { type: "webhook", endpoint_id: id },
    ],
    "1.endpoint_id",
  ],
  ["no id", [{ type: "webhook", endpoint_id: "x" }], "0.endpoint_id"],
  ["an unknown field", [{ type: "webhook", endpoint_id: id, url: "https://example.com" }], "0"],
  ["an unknown type", [{ type: "sms", to: "1" }], "0.type"],
  ["eleven targets", Array.from({ length: 11 }, (_, n) => mail({ to: [`a${n}@example.com`] })), ""],
])("refuses %s", (_title, value, path) => {
  expect(pathsOf(value)).toEqual([path]);
});
