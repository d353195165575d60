/** The polynomial of zip's CRC-32, bits reversed: the highest bit stands for x⁰. */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000;
/** x⁸: what one byte of zeros multiplies a checksum by. */
const BYTE = 0x00800000;

/** a · b modulo the polynomial. */
function product(a: number, b: number): number {
  let sum = 0;
  let factor = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if (a & bit) sum ^= factor;
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1;
  }
  return sum >>> 0;
}

/** The CRC-32 of two runs of bytes behind each other, from theirs and the length of the second. */
export function combinedCrc32(first: number, second: number, secondBytes: number): number {
  let shift = ONE;
  let power = BYTE;
  for (let rest = secondBytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shift = product(shift, power);
    power = product(power, power);
  }
  return (product(shift, first) ^ second) >>> 0;
}
