import { Readable } from "node:stream";
import type { ArtifactStore, ByteRange } from "./artifact-store.js";

/** A stretch of a file: bytes of its own (base64), or a file of the store. */
export type FileSegment = { inline: string } | { key: string; bytes: number };

type Piece = Buffer | { key: string; range: ByteRange | undefined };

/**
 * The bytes of a file that is made of segments, or of a range of them; undefined when the first file that they need is not
 * in the store. The stream fails when a later one is missing. Read it to its end or destroy it.
 */
export async function openSegments(
  store: ArtifactStore,
  segments: readonly FileSegment[],
  range?: ByteRange,
): Promise<Readable | undefined> {
  const pieces = [...piecesOf(segments, range)];
  const first = pieces.findIndex((piece) => "key" in piece);
  if (first === -1) return Readable.from([Buffer.concat(pieces as Buffer[])], { objectMode: false });
  const opened = await openPiece(store, pieces[first]!);
  if (!opened) return undefined;
  if (pieces.length === 1) return opened;
  async function* bytes() {
    for (const [index, piece] of pieces.entries()) {
      const source = index === first ? opened : await openPiece(store, piece);
      if (!source) throw new Error("a part of the file is no longer in the store");
      yield* source as AsyncIterable<Buffer>;
    }
  }
  const file = Readable.from(bytes(), { objectMode: false });
  file.once("close", () => opened.destroy());
  return file;
}

async function openPiece(store: ArtifactStore, piece: Piece): Promise<Readable | undefined> {
  return "key" in piece ? store.open(piece.key, piece.range) : Readable.from([piece], { objectMode: false });
}

/** What of each segment lies in the range. */
function* piecesOf(segments: readonly FileSegment[], range: ByteRange | undefined): Generator<Piece> {
  let offset = 0;
  for (const segment of segments) {
    const inline = "inline" in segment ? Buffer.from(segment.inline, "base64") : undefined;
    const length = "key" in segment ? segment.bytes : inline!.length;
    const start = range ? Math.max(range.start - offset, 0) : 0;
    const end = range ? Math.min(range.end - offset, length - 1) : length - 1;
    offset += length;
    if (start > end) continue;
    if (inline) yield inline.subarray(start, end + 1);
    else if ("key" in segment)
      yield { key: segment.key, range: start === 0 && end === length - 1 ? undefined : { start, end } };
  }
}

/** The files of the store that a file is made of. */
export const segmentKeys = (segments: readonly FileSegment[]): string[] =>
  segments.flatMap((segment) => ("key" in segment ? segment.key : []));
