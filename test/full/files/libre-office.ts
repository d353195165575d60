import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

export const hasLibreOffice = spawnSync("soffice", ["--version"]).status === 0;
if (!hasLibreOffice) console.warn("soffice is not installed: what LibreOffice must read is skipped");

const run = promisify(execFile);

/** Opens a file in LibreOffice, with a profile of its own, and gives the files that it saves, by name. */
export async function convert(
  bytes: Buffer,
  options: { extension: string; to: string; infilter?: string },
): Promise<Map<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), "libre-office-test-"));
  try {
    const input = join(folder, `in.${options.extension}`);
    await writeFile(input, bytes);
    const saved = join(folder, "saved");
    const profile = pathToFileURL(join(folder, "profile")).href;
    await run(
      "soffice",
      [
        `-env:UserInstallation=${profile}`,
        "--headless",
        ...(options.infilter ? [`--infilter=${options.infilter}`] : []),
        ...["--convert-to", options.to, "--outdir", saved, input],
      ],
      { timeout: 120_000 },
    );
    const names = await readdir(saved);
    return new Map(
      await Promise.all(
        names.map(async (name) => [name, await readFile(join(saved, name), "utf8")] as const),
      ),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface OfficeCell {
  /** `string`, `float`, `date`, `percentage`; undefined for an empty cell. */
  type: string | undefined;
  /** The value that is stored: an ISO date, a number, or the text. */
  value: string;
  /** What the sheet shows. */
  shown: string;
  formula: string | undefined;
}

/** The rows of each sheet of a flat OpenDocument spreadsheet. Empty cells at the end of a row are left out. */
export function readFods(xml: string): Map<string, OfficeCell[][]> {
  const sheets = new Map<string, OfficeCell[][]>();
  for (const [, head, body] of xml.matchAll(/<table:table (.*?)>(.*?)<\/table:table>/gs))
    sheets.set(
      attribute(head!, "table:name")!,
      [...body!.matchAll(/<table:table-row.*?>(.*?)<\/table:table-row>/gs)].map(([, row]) => readRow(row!)),
    );
  return sheets;
}

function readRow(xml: string): OfficeCell[] {
  const cells: OfficeCell[] = [];
  for (const [, head, , body] of xml.matchAll(
    /<table:table-cell\b((?:\s[\w:-]+="[^"]*")*)\s*(\/>|>(.*?)<\/table:table-cell>)/gs,
  )) {
    const type = attribute(head!, "office:value-type");
    const shown = textOf(body ?? "");
    const value = attribute(head!, "office:date-value") ?? attribute(head!, "office:value") ?? shown;
    const cell = { type, value, shown, formula: attribute(head!, "table:formula") };
    const repeated = Number(attribute(head!, "table:number-columns-repeated") ?? 1);
    for (let i = 0; i < Math.min(repeated, 100); i++) cells.push(cell);
  }
  while (cells.length > 0 && cells.at(-1)!.type === undefined) cells.pop();
  return cells;
}

const attribute = (head: string, name: string): string | undefined => {
  const found = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(head)?.[1];
  return found === undefined ? undefined : decode(found);
};

/** Paragraphs are lines; blanks and tabs have elements of their own. */
const textOf = (body: string): string =>
  [...body.matchAll(/<text:p\s*\/>|<text:p>(.*?)<\/text:p>/gs)]
    .map(([, line = ""]) =>
      decode(
        line
          .replace(/<text:s text:c="(\d+)"\/>/g, (_, count) => " ".repeat(Number(count)))
          .replaceAll("<text:s/>", " ")
          .replaceAll("<text:tab/>", "\t")
          .replaceAll("<text:line-break/>", "\n")
          .replace(/<[^>]*>/g, ""),
      ),
    )
    .join("\n");

const decode = (xml: string): string =>
  xml
    .replace(/&#x([0-9a-f]+);/gi, (_, code) => String.fromCodePoint(Number.parseInt(code, 16)))
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&");
