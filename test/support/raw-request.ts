import { connect } from "node:net";

export interface RawAnswer {
  status: number;
  /** Everything that came back until the server closed the connection. */
  text: string;
  /** From the first byte sent to the first one received. */
  answeredMs: number;
}

/** Sends bytes as they are, as fast as they go, and resolves once the server has closed the connection. */
export function sendRaw(url: string, bytes: Iterable<Buffer | string>, end = false): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let text = "";
    let answeredMs = 0;
    const source = bytes[Symbol.iterator]();
    const started = performance.now();
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    const pump = () => {
      while (socket.writable) {
        const next = source.next();
        if (next.done) {
          if (end) socket.end();
          return;
        }
        if (!socket.write(next.value)) {
          socket.once("drain", pump);
          return;
        }
      }
    };
    socket.once("connect", pump);
    socket.setEncoding("latin1").on("data", (part) => {
      if (text === "") answeredMs = performance.now() - started;
      text += part;
    });
    // A server that closes says so by the end of its side, or by a reset when it is still sent to.
    socket.on("end", () => socket.destroy()).on("error", () => {});
    socket.on("close", () => resolve({ status: Number(text.split(" ", 2)[1]), text, answeredMs }));
  });
}
