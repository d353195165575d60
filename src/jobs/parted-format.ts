import type { PartedFormat } from "../exports/file-parts.js";
import { partedText, textFormats } from "../exports/text-file.js";
import type { OpenedDataset } from "./open-dataset.js";
import type { ExportRequest } from "./run-requests.js";

/** How the file of an export is put together from parts; undefined for a format that is written as a whole. */
export function partedFormat(
  { format: name, csv, compression }: ExportRequest,
  { columns }: OpenedDataset,
): PartedFormat | undefined {
  const format = textFormats.find((one) => one === name);
  return format && partedText({ format, columns, csv }, compression);
}
