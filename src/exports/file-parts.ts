import type { Readable } from "node:stream";
import type { Column } from "./columns.js";

/** One part of a file in the making. After the end of `bytes`, `rows()` and `detail()` tell what joining needs (JSON-able, small). */
export interface FilePart<Detail = unknown> {
  bytes: Readable;
  rows(): number;
  detail(): Detail;
}

/** What joining knows of a part that has been stored. */
export interface StoredPart<Detail = unknown> {
  rows: number;
  bytes: number;
  detail: Detail;
}

/** What stands where in a joined file: bytes of its own, or part number n (0-based) as it was stored. */
export type Segment = { inline: Buffer } | { part: number };

/** How a file of one format is made of parts that know nothing of each other. */
export interface PartedFormat {
  columns: readonly Column[];
  /** Whether the making of a part holds tens of megabytes, and the thread that does it is the slowest on the way. */
  isHeavy: boolean;
  /** Of what `binaryCopySql` sends of these columns. Its bytes fail with the error of the source. */
  part(source: Readable): FilePart;
  /** The whole file of its parts, in their order. */
  join(parts: readonly StoredPart[]): Segment[];
}

/** Segments of bytes and of part numbers, neighbouring bytes as one. */
export function segmentsOf(pieces: Iterable<Buffer | number>): Segment[] {
  const segments: Segment[] = [];
  let inline: Buffer[] = [];
  const close = () => {
    if (inline.length > 0) segments.push({ inline: Buffer.concat(inline) });
    inline = [];
  };
  for (const piece of pieces) {
    if (typeof piece !== "number") inline.push(piece);
    else {
      close();
      segments.push({ part: piece });
    }
  }
  close();
  return segments;
}
