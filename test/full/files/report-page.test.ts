import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builtInTemplates } from "../../../src/analytics/report-templates/built-in.js";
import { openReports, type Reports } from "../../support/report-traffic.js";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync,
);
const names = builtInTemplates.map(({ name }) => name).filter((name) => name !== "message-log");

describe.skipIf(!executablePath)("the page of a report in a browser", () => {
  let test: Reports;
  let browser: Browser;
  let folder: string;
  beforeAll(async () => {
    test = await openReports(2_000);
    folder = await mkdtemp(join(tmpdir(), "pages-test-"));
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    await test?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it.each(names)("%s loads nothing, complains of nothing and fits its window", async (template) => {
    const { bytes } = await test.build({ template, format: "html", group_by: ["template", "channel_id"] });
    const file = join(folder, `${template}.html`);
    await writeFile(file, bytes);
    for (const width of [390, 1_200]) {
      const page = await browser.newPage({ viewport: { width, height: 900 } });
      const complaints: string[] = [];
      const requests: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("request", (request) => requests.push(request.url()));
      const url = pathToFileURL(file).href;
      await page.goto(url);
      await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true");
      const tooWide = await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth",
      );
      const isStyled = await page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius");
      expect([width, complaints, requests, tooWide, isStyled]).toEqual([width, [], [url], false, "10px"]);
      const colours = [];
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        colours.push(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
      }
      expect(colours).toEqual(["rgb(245, 246, 247)", "rgb(17, 22, 27)"]);
      await page.close();
    }
  });
});
