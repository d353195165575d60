/** Rows as COPY sends them in binary; a field is its bytes, or null. */
export function binaryRows(rows: readonly (readonly (Buffer | null)[])[]): Buffer {
  return Buffer.concat([BEGIN, ...rows.map(binaryRow), END]);
}

export const BEGIN = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
export const END = Buffer.from([0xff, 0xff]);

export function binaryRow(fields: readonly (Buffer | null)[]): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  return Buffer.concat([
    count,
    ...fields.map((field) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(field?.length ?? -1);
      return field ? Buffer.concat([length, field]) : length;
    }),
  ]);
}

export function int8(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
