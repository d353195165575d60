const LF = 0x0a;

export interface LinePage {
  bytes: AsyncIterable<Buffer>;
  /** That have gone by so far. */
  lines(): number;
}

/** How many of the bytes belong to the first `most` lines, and how many lines end in them. */
function firstLines(bytes: Buffer, most: number): { length: number; lines: number } {
  let length = 0;
  for (let lines = 0; lines < most; lines++) {
    const end = bytes.indexOf(LF, length);
    if (end === -1) return { length: bytes.length, lines };
    length = end + 1;
  }
  return { length, lines: most };
}

/**
 * Cuts a stream of lines after every `size` of them; without any there is one empty page. Each page has to be read to its
 * end before the next one.
 */
export async function* linePages(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<LinePage> {
  const chunks = source[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await chunks.next();
    return done ? undefined : value;
  };
  let rest = await next();
  const page = (): LinePage => {
    let count = 0;
    async function* bytes(): AsyncGenerator<Buffer> {
      while (rest !== undefined && count < size) {
        const { length, lines } = firstLines(rest, size - count);
        const head = rest.subarray(0, length);
        rest = length < rest.length ? rest.subarray(length) : await next();
        count += lines;
        yield head;
      }
    }
    return { bytes: bytes(), lines: () => count };
  };
  do yield page();
  while (rest !== undefined);
}
