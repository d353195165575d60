import { createHash } from "node:crypto";
import type { PartedFormat } from "../exports/file-parts.js";
import { partedParquet } from "../exports/parquet/parquet.js";
import { partedText } from "../exports/text-file.js";
import { partedWorkbook } from "../exports/xlsx-workbook.js";
import type { JobSettings } from "./define-job.js";
import { type RowFile, workbookOf } from "./write-rows.js";

/** Rises when parts are written or laid out otherwise. */
const FORMATS_VERSION = 3;
/** A sheet is a part, and holds more than other parts. Excel's limit is a little higher: a part may grow meanwhile. */
const SHEET_FACTOR = 4;
const MAX_SHEET_PART_ROWS = 1_000_000;

export interface PartedFile {
  format: PartedFormat;
  /** How many rows each part has. */
  partRows: number;
  /** Names what parts hold: while a new release is rolled out, workers of both may be at one file. */
  layout: string;
}

/**
 * How a file of rows is put together from parts. Undefined where it is one piece: rows of which no range can be read alone,
 * and an indented document.
 */
export function partedFormat(
  { exportPartRows: partRows }: Pick<JobSettings, "exportPartRows">,
  file: RowFile,
): PartedFile | undefined {
  if (!file.rows.key || file.pretty) return undefined;
  const { format, columns, compression } = file;
  const layout = layoutOf(file);
  if (format === "xlsx")
    return {
      format: partedWorkbook(workbookOf(file)),
      partRows: Math.min(SHEET_FACTOR * partRows, MAX_SHEET_PART_ROWS),
      layout,
    };
  if (format === "parquet") return { format: partedParquet({ columns, compression }), partRows, layout };
  return { format: partedText({ ...file, format }, compression ?? "none"), partRows, layout };
}

const layoutOf = ({ format, csv, compression, columns, head }: RowFile): string =>
  createHash("sha256")
    .update(JSON.stringify([FORMATS_VERSION, format, csv, compression, columns, head?.time_zone]))
    .digest("base64url");
