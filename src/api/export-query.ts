import type { Request } from "express";
import { z } from "zod";
import { type ExportRequest, exportRequest } from "../jobs/run-requests.js";
import { escapedList } from "./filters.js";
import { parseParameters, readQuery } from "./input.js";

const LISTS: ReadonlySet<string> = new Set(["columns", "metrics", "group_by"]);
const FLAGS: ReadonlySet<string> = new Set(["bom", "header", "formula_guard"]);
const NESTED = /^(filter|csv)\[([^\]]*)\]$/;

/**
 * An export in the words of a query: `columns=a,b`, `csv[bom]=true`, `filter[template]=a,b`, and the rest as the body of
 * `POST /analytics/exports` has it. Its format is CSV unless it says otherwise. Throws `InvalidInput`.
 */
export function readExportQuery(request: Request): ExportRequest {
  // Not a record of zod's, which passes over a `__proto__` without a word.
  const parameters = readQuery(request, z.custom<Readonly<Record<string, string>>>());
  const plain: Entry[] = [["format", "csv"]];
  const nested: Record<string, Entry[]> = { filter: [], csv: [] };
  for (const [parameter, text] of Object.entries(parameters)) {
    const [, group, name] = NESTED.exec(parameter) ?? [];
    if (group && name !== undefined) nested[group]!.push([name, nestedValue(group, name, text)]);
    else plain.push([parameter, LISTS.has(parameter) ? text.split(",") : text]);
  }
  const { filter, csv } = nested;
  // Entries, since a parameter may be called `__proto__`.
  const body = Object.fromEntries([
    ...(filter!.length > 0 ? [["filters", Object.fromEntries(filter!)] as const] : []),
    ...(csv!.length > 0 ? [["csv", Object.fromEntries(csv!)] as const] : []),
    ...plain,
  ]);
  return parseParameters(exportRequest, body, parameterOf);
}

type Entry = [name: string, value: unknown];

const nestedValue = (group: string, name: string, text: string): unknown =>
  group === "filter" ? escapedList(text) : FLAGS.has(name) ? flagOf(text) : text;

const flagOf = (text: string) => (text === "true" ? true : text === "false" ? false : text);

/** `csv[bom]` for `csv.bom`. */
const parameterOf = (path: string): string =>
  path.replace(/^filters\.(.*)$/s, "filter[$1]").replace(/^csv\.(.*)$/s, "csv[$1]");
