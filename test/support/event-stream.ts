import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

export interface StreamedEvent {
  id: string | undefined;
  event: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  data: any;
}

export interface EventStream {
  status: number;
  headers: IncomingHttpHeaders;
  /** As they come. */
  events: StreamedEvent[];
  comments: string[];
  retryMs: number | undefined;
  hasEnded: () => boolean;
  /** Takes nothing more out of the socket. */
  stopReading(): void;
  close(): void;
}

/** A client of server-sent events that keeps what it gets. */
export function openEventStream(
  url: string,
  path: string,
  headers: Record<string, string>,
): Promise<EventStream> {
  return new Promise((resolve, reject) => {
    const sent = request(url + path, { headers, agent: false });
    sent.on("error", reject);
    sent.on("response", (response) => {
      sent.on("error", () => {});
      resolve(follow(response));
    });
    sent.end();
  });
}

function follow(response: IncomingMessage): EventStream {
  let ended = false;
  let rest = "";
  const stream: EventStream = {
    status: response.statusCode!,
    headers: response.headers,
    events: [],
    comments: [],
    retryMs: undefined,
    hasEnded: () => ended,
    stopReading: () => void response.pause(),
    close: () => void response.destroy(),
  };
  response.setEncoding("utf8").on("data", (part: string) => {
    const blocks = (rest + part).split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) read(block, stream);
  });
  response.on("error", () => {});
  response.on("close", () => {
    ended = true;
  });
  return stream;
}

function read(block: string, stream: EventStream): void {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*): ?(.*)$/s.exec(line)!;
    if (name === "") stream.comments.push(value!);
    else fields.set(name!, value!);
  }
  if (fields.has("retry")) stream.retryMs = Number(fields.get("retry"));
  const data = fields.get("data");
  if (data !== undefined)
    stream.events.push({ id: fields.get("id"), event: fields.get("event"), data: JSON.parse(data) });
}
