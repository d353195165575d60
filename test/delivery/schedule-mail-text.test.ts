import { describe, expect, it } from "vitest";
import { mailLocales } from "../../src/delivery/mail-page.js";
import { type ScheduleMailFacts, scheduleMailText } from "../../src/delivery/schedule-mail-text.js";

const facts: ScheduleMailFacts = {
  accountId: "shop",
  name: "last week, Monday morning",
  since: new Date("2026-05-05T01:00:00Z"),
  timeZone: "America/Sao_Paulo",
  error: { code: "too_many_buckets", message: "That is too long." },
  resume: "POST /analytics/schedules/1/resume",
};

describe.each(mailLocales)("a mail about a schedule in %s", (locale) => {
  it("says which is off, since when, why and what switches it on, as text and as HTML", () => {
    const { subject, text, html } = scheduleMailText(facts, locale);
    expect(subject).toContain(facts.name);
    for (const body of [text, html]) {
      for (const fact of [facts.accountId, facts.name, facts.timeZone, facts.resume, "too_many_buckets"])
        expect(body).toContain(fact);
      // In the zone of the schedule: the evening before.
      expect(body).toMatch(/\b0?4\b.*\b(22|10):00/);
      expect(body).toContain("PATCH");
      expect(body).not.toMatch(/undefined|null|\{name\}/);
    }
  });

  it("is one subject and no markup but its own, whatever the name is", () => {
    const name = `$& <img src=x onerror="alert('1')">\r\nBcc: all@example.com\u2028\u0007`;
    const { subject, html } = scheduleMailText({ ...facts, name }, locale);
    expect(subject).toContain(`$& <img src=x onerror="alert('1')"> Bcc: all@example.com `);
    expect(subject).not.toMatch(/[\p{Cc}\u2028]/u);
    expect(html).not.toContain("<img");
  });
});
