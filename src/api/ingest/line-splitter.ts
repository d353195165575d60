const NEWLINE = 0x0a;

export interface LineSplitter {
  push(chunk: Buffer): void;
  /** The last line may lack its newline. */
  end(): void;
}

/**
 * Splits bytes into lines, wherever the chunks are cut. `onLine` gets undefined for a line of more than `maxBytes`,
 * whose bytes are not kept. Lines count from 0; a line is valid only during the call.
 */
export function createLineSplitter(
  maxBytes: number,
  onLine: (line: Buffer | undefined, index: number) => void,
): LineSplitter {
  let parts: Buffer[] = [];
  let length = 0;
  let index = 0;

  function keep(part: Buffer): void {
    length += part.length;
    if (length > maxBytes) parts = [];
    else if (part.length > 0) parts.push(part);
  }

  function finish(last: Buffer): void {
    if (parts.length === 0 && length === 0) {
      onLine(last.length > maxBytes ? undefined : last, index);
    } else {
      keep(last);
      onLine(length > maxBytes ? undefined : Buffer.concat(parts, length), index);
      parts = [];
      length = 0;
    }
    index += 1;
  }

  return {
    push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        finish(chunk.subarray(start, end));
        start = end + 1;
      }
      keep(chunk.subarray(start));
    },
    end() {
      if (length > 0) finish(Buffer.alloc(0));
    },
  };
}
