import type { Interval } from "../../analytics/buckets.js";
import type { XlsxColumn, XlsxSheet } from "../../exports/xlsx.js";
import type { KeyColumn } from "./section-table.js";

/** A sheet whose rows are known and counted. */
export type DataSheet = XlsxSheet & { rows: readonly (readonly unknown[])[] };

export const sheetName = (name: string): string => name.replaceAll("_", " ");

export function keyColumn({ name, type }: KeyColumn, interval: Interval | undefined): XlsxColumn {
  if (type === "bucket") return { name, type: "timestamp", numberFormat: bucketFormat(interval) };
  return { name, type };
}

const bucketFormat = (interval: Interval | undefined): string =>
  interval === "15m" || interval === "hour" ? "yyyy-mm-dd hh:mm" : "yyyy-mm-dd";
