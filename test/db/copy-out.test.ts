import { type EventEmitter, once } from "node:events";
import { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyOut } from "../../src/db/copy-out.js";
import { chunked } from "../exports/chunked.js";
import { createTestDatabase } from "../support/postgres.js";

const message = (kind: string, body: Buffer | string = "") => {
  const head = Buffer.alloc(5);
  head.write(kind);
  head.writeUInt32BE(4 + Buffer.byteLength(body), 1);
  return Buffer.concat([head, Buffer.from(body)]);
};

/** A connection on which a server says `said` in these pieces, and what reaches its own parser of messages. */
function connection(said: readonly Buffer[]) {
  const pieces = [...said];
  const parsed: Buffer[] = [];
  const stream = new Duplex({
    read() {
      const piece = pieces.shift();
      // An empty piece would be no piece.
      if (piece) setImmediate(() => (piece.length > 0 ? this.push(piece) : this._read(0)));
    },
    write: (_chunk, _encoding, done) => done(),
  });
  stream.on("data", (chunk: Buffer) => parsed.push(Buffer.from(chunk)));
  return { stream, parsed: () => Buffer.concat(parsed), query() {} };
}

describe("the data of a copy", () => {
  const row = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array()));
  const other = fc.constantFrom(...[..."NSA"].map((kind) => message(kind, "anything")));
  const messages = fc.array(fc.oneof({ weight: 4, arbitrary: row }, { weight: 1, arbitrary: other }), {
    maxLength: 30,
  });

  test("is what the server sent, however the messages are cut, and what follows is left to the client", async () => {
    await fc.assert(
      fc.asyncProperty(messages, fc.array(fc.nat(25), { maxLength: 60 }), async (sent, cuts) => {
        const said = Buffer.concat([
          message("H", "\0\0\0"),
          ...sent.map((one) => (Buffer.isBuffer(one) ? one : message("d", Buffer.from(one)))),
          message("c"),
          Buffer.from("what follows"),
        ]);
        const faked = connection(chunked(said, cuts).map((chunk) => Buffer.from(chunk)));
        const copy = copyOut("copy");
        copy.submit(faked as unknown as pg.Connection);
        const rows = sent.filter((one) => !Buffer.isBuffer(one)).map((one) => Buffer.from(one));
        expect((await buffer(copy)).equals(Buffer.concat(rows))).toBe(true);
        await until(() => faked.parsed().length >= "what follows".length, faked.stream);
        expect(faked.parsed().toString()).toBe("what follows");
      }),
    );
  });

  async function until(isSo: () => boolean, emitter: EventEmitter): Promise<void> {
    while (!isSo()) await new Promise((resolve) => emitter.once("data", resolve));
  }
});

describe("on a server", () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let client: pg.Client;
  beforeAll(async () => {
    database = await createTestDatabase();
    client = new pg.Client(database.url);
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await database?.drop();
  });

  const ROWS = 200_000;
  const lines = Array.from({ length: ROWS }, (_, i) => `${i + 1}\n`).join("");

  test("two copies and queries go one after the other on one connection", async () => {
    const sql = `copy (select n from generate_series(1, ${ROWS}) n) to stdout`;
    const [first, second, { rows }] = await Promise.all([
      buffer(client.query(copyOut(sql))),
      buffer(client.query(copyOut(sql))),
      client.query("select 1 as one"),
    ]);
    expect(first.toString() === lines && second.toString() === lines).toBe(true);
    expect(rows).toEqual([{ one: 1 }]);
  });

  test("a reader that waits holds the server up, and loses nothing", async () => {
    const copy = client.query(copyOut(`copy (select n from generate_series(1, ${ROWS}) n) to stdout`));
    const chunks: Buffer[] = [];
    for await (const chunk of copy) {
      chunks.push(chunk as Buffer);
      await new Promise((resolve) => setImmediate(resolve));
      expect(copy.readableLength).toBeLessThan(10);
    }
    expect(Buffer.concat(chunks).toString() === lines).toBe(true);
  });

  test("notices and changed settings between the rows are no rows", async () => {
    await client.query(`
      create function noisy(n int) returns int language plpgsql as $$
      begin raise notice 'row %', n; perform set_config('application_name', 'n' || n, false); return n; end $$`);
    let notices = 0;
    client.on("notice", () => notices++);
    const copy = await buffer(
      client.query(copyOut("copy (select noisy(n) from generate_series(1, 3) n) to stdout")),
    );
    expect(copy.toString()).toBe("1\n2\n3\n");
    expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    expect(notices).toBe(0);
  });

  test("an error is told after the rows before it, and the connection goes on", async () => {
    for (const at of [1, ROWS]) {
      const copy = client.query(
        copyOut(`copy (select 1 / (${at} - n) from generate_series(1, ${ROWS}) n) to stdout`),
      );
      await expect(buffer(copy)).rejects.toMatchObject({ code: "22012" });
      expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    }
    await expect(buffer(client.query(copyOut("copy nothing to stdout")))).rejects.toMatchObject({
      code: "42P01",
    });
  });

  test("a connection that is cut is an error", async () => {
    const other = new pg.Client(database.url);
    other.on("error", () => {});
    await other.connect();
    const { rows } = await other.query<{ pid: number }>("select pg_backend_pid() as pid");
    const copy = other.query(copyOut("copy (select generate_series(1, 100000000)) to stdout"));
    const cut = once(copy, "data").then(() =>
      client.query("select pg_terminate_backend($1)", [rows[0]!.pid]),
    );
    await expect(buffer(copy)).rejects.toThrow(/terminat/);
    await cut;
  });
});
