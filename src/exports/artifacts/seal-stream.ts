import { Transform } from "node:stream";
import type { Source } from "./artifact-store.js";
import { fileDamaged } from "./key-ring.js";
import {
  HEADER_BYTES,
  openSegment,
  SEALED_BYTES,
  SEGMENT_BYTES,
  type Sealing,
  sealSegment,
  type Window,
} from "./sealed-file.js";

/** The stored form of `source`, in the constant memory of one segment. `onPlain` sees every piece of it. */
export async function* seal(
  source: Source,
  { header, sealing }: { header: Buffer; sealing: Sealing },
  onPlain: (chunk: Buffer) => void,
): AsyncGenerator<Buffer> {
  yield header;
  const segment = Buffer.allocUnsafe(SEGMENT_BYTES);
  let filled = 0;
  let index = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    onPlain(chunk);
    for (let taken = 0; taken < chunk.length; ) {
      // A full segment waits for what follows: the last one is sealed as such.
      if (filled === SEGMENT_BYTES) {
        yield sealSegment(sealing, index++, false, segment);
        filled = 0;
      }
      const copied = chunk.copy(segment, filled, taken);
      taken += copied;
      filled += copied;
    }
  }
  yield sealSegment(sealing, index, true, segment.subarray(0, filled));
}

/** All of a file: its header comes first, and `take` is what comes. */
export const wholeFile: Omit<Window, "stored"> = {
  firstIndex: 0,
  endsFile: true,
  skip: 0,
  take: Number.POSITIVE_INFINITY,
};

/**
 * Takes the segments of a window in their stored form, gives its content; nothing that is not whole and in its place gets
 * through. `unlock` reads a header that comes before them.
 */
export function opened(
  start: { sealing: Sealing } | { unlock: (header: Buffer) => Sealing },
  window: Omit<Window, "stored">,
): Transform {
  let sealing = "sealing" in start ? start.sealing : undefined;
  let { firstIndex: index, skip, take } = window;
  let held: Buffer[] = [];
  let heldBytes = 0;

  const first = (bytes: number): Buffer => {
    const all = held.length === 1 ? held[0]! : Buffer.concat(held, heldBytes);
    held = [all.subarray(bytes)];
    heldBytes -= bytes;
    return all.subarray(0, bytes);
  };
  const give = (sealed: Buffer, isLast: boolean) => {
    if (!sealing) throw fileDamaged();
    const wanted = openSegment(sealing, index++, isLast, sealed).subarray(skip, skip + take);
    skip = 0;
    take -= wanted.length;
    if (wanted.length > 0) transform.push(wanted);
  };
  const work = (): void => {
    if (!sealing && "unlock" in start && heldBytes >= HEADER_BYTES)
      sealing = start.unlock(first(HEADER_BYTES));
    // The last one is opened as such, once nothing has followed it.
    while (sealing && heldBytes > SEALED_BYTES) give(first(SEALED_BYTES), false);
  };
  const transform: Transform = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      held.push(chunk);
      heldBytes += chunk.length;
      attempt(work, done);
    },
    flush(done) {
      attempt(() => give(first(heldBytes), window.endsFile), done);
    },
  });
  return transform;
}

function attempt(work: () => void, done: (error?: Error) => void): void {
  try {
    work();
  } catch (error) {
    done(error as Error);
    return;
  }
  done();
}
