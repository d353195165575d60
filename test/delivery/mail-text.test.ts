import { describe, expect, it } from "vitest";
import { mailLocales } from "../../src/delivery/mail-page.js";
import { type MailFacts, mailText } from "../../src/delivery/mail-text.js";

const facts: MailFacts = {
  kind: "report",
  ended: "succeeded",
  accountId: "shop",
  what: "message-log",
  period: { from: new Date("2026-01-01T00:00:00Z"), to: new Date("2026-02-01T00:00:00Z") },
  timeZone: "America/Sao_Paulo",
  file: {
    name: "message-log.csv",
    rows: 1234567,
    bytes: 3_500_000,
    where: { link: "/analytics/reports/1/download", until: new Date("2026-02-08T12:00:00Z") },
  },
};

describe.each(mailLocales)("a mail in %s", (locale) => {
  it("says what, for whom, of when and how to get it, as text and as HTML", () => {
    const { subject, text, html } = mailText(facts, locale);
    expect(subject).toContain("message-log");
    for (const body of [text, html]) {
      for (const fact of ["shop", "message-log.csv", "/analytics/reports/1/download", "America/Sao_Paulo"])
        expect(body).toContain(fact);
      expect(body.replace(/[.,\s\u00a0]/g, "")).toContain("1234567");
      // In the zone of the report: the evening before.
      expect(body).toMatch(/31/);
      expect(body).not.toMatch(/undefined|null|\{until\}/);
    }
    const attached = mailText({ ...facts, file: { ...facts.file!, where: "attached" } }, locale);
    expect(attached.text).not.toContain("/download");
    expect(mailText({ ...facts, file: { ...facts.file!, where: "expired" } }, locale).text).not.toBe(
      attached.text,
    );
    const { file: _file, period: _period, ...without } = facts;
    const failed = mailText(
      { ...without, ended: "failed", error: { code: "disk_full", message: "The disk is full." } },
      locale,
    );
    expect(failed.text).toContain("disk_full");
    expect(
      new Set([subject, failed.subject, mailText({ ...without, ended: "cancelled" }, locale).subject]).size,
    ).toBe(3);
  });

  it("holds no markup but its own, whatever the texts are", () => {
    const hostile = `<img src=x onerror="alert('1')">&lt;`;
    const { html } = mailText(
      {
        ...facts,
        accountId: hostile,
        what: hostile,
        error: { code: hostile, message: hostile },
        file: {
          ...facts.file!,
          name: hostile,
          where: { link: `https://example.com/"><script>`, until: new Date(0) },
        },
      },
      locale,
    );
    expect(html).not.toMatch(/<img|<script|onerror="|href="[^"]*"[^>]*"/);
    expect(html).toContain("&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;lt;");
  });
});
