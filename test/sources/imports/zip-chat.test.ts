import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { chatInZip, type ImportFile, isZip, MAX_CHAT_BYTES } from "../../../src/sources/imports/zip-chat.js";
import { makeZip } from "../../support/zip.js";

const fileOf = (bytes: Buffer, onRead: (bytes: number) => void = () => {}): ImportFile => ({
  size: bytes.length,
  async open(start, end) {
    onRead(end - start);
    return Readable.from([bytes.subarray(start, end)]);
  },
});
const entry = (name: string, data: string | Buffer = name) => ({ name, data: Buffer.from(data) });
const read = async (zip: Buffer) => text(Readable.from((await chatInZip(fileOf(zip)))()));

describe("a chat in a zip", () => {
  it("is read as often as it is opened, without its media", async () => {
    let bytes = 0;
    const zip = makeZip([
      entry("IMG-1.jpg", Buffer.alloc(500_000, Math.random().toString())),
      entry("_chat.txt", "hello"),
    ]);
    const file = fileOf(zip, (more) => {
      bytes += more;
    });
    expect(await isZip(file)).toBe(true);
    const open = await chatInZip(file);
    expect([await text(Readable.from(open())), await text(Readable.from(open()))]).toEqual([
      "hello",
      "hello",
    ]);
    const big = makeZip([
      entry("IMG-1.jpg", Buffer.from(Array.from({ length: 300_000 }, () => Math.random() * 256))),
      entry("_chat.txt", "hello"),
    ]);
    bytes = 0;
    await text(
      Readable.from(
        (
          await chatInZip(
            fileOf(big, (more) => {
              bytes += more;
            }),
          )
        )(),
      ),
    );
    expect(bytes).toBeLessThan(big.length / 2);
  });

  it("is the only text, whatever it is called", async () => {
    expect(await read(makeZip([entry("a.jpg"), entry("WhatsApp Chat with Ann.txt", "hi")]))).toBe("hi");
    for (const names of [["a.txt", "b.txt"], ["a.jpg"], ["folder/_chat.txt"]])
      await expect(read(makeZip(names.map((name) => entry(name))))).rejects.toMatchObject({
        code: "no_chat_in_zip",
      });
  });

  it("may not inflate to more than it says, nor say too much", async () => {
    const bomb = makeZip([{ ...entry("_chat.txt", Buffer.alloc(5_000_000)), claimedSize: 10 }]);
    await expect(read(bomb)).rejects.toMatchObject({ code: "unreadable_zip" });
    const huge = makeZip([{ ...entry("_chat.txt"), claimedSize: MAX_CHAT_BYTES + 1 }]);
    await expect(read(huge)).rejects.toMatchObject({ code: "chat_too_large" });
  });

  it("that is cut, spoilt or no zip at all is refused", async () => {
    const zip = makeZip([entry("_chat.txt", "hello hello hello hello hello")]);
    await expect(read(zip.subarray(0, zip.length - 30))).rejects.toMatchObject({ code: "unreadable_zip" });
    const spoilt = Buffer.from(zip);
    spoilt.fill(0xff, 40, 44);
    await expect(read(spoilt)).rejects.toMatchObject({ code: "unreadable_zip" });
    expect(await isZip(fileOf(Buffer.from("PK")))).toBe(false);
    expect(await isZip(fileOf(Buffer.from("hello")))).toBe(false);
  });

  it("passes on the error of the disk", async () => {
    const zip = makeZip([entry("_chat.txt")]);
    const gone = Object.assign(new Error("i/o error"), { code: "EIO" });
    const file = { size: zip.length, open: async () => Promise.reject(gone) };
    await expect(chatInZip(file)).rejects.toBe(gone);
  });
});
