import type { Context } from "../../context.js";
import { InvalidInput, TooLarge } from "../../errors.js";
import { parseDeepJson, readRawBody, requireContentType } from "../body.js";
import { ingestOf } from "../ingest/ingest.js";
import { createIntake, type Intake, tooDeep } from "../ingest/intake.js";
import { readNdjson } from "../ingest/ndjson-intake.js";
import { MAX_DEPTH, nestsDeeper } from "../json-depth.js";
import { boundTime } from "../middleware/request-scope.js";
import { type ApiRequest, type Route, route } from "../route.js";

const MAX_BODY_BYTES = 3_000_000;
const MAX_EVENTS = 1_000;
const NDJSON = "application/x-ndjson";

/** Takes events from senders; answers after they are committed. */
export function eventRoutes(context: Context): Route[] {
  const nowMs = () => context.now().getTime();
  const ingest = ingestOf(context);
  return [
    route({
      method: "post",
      path: "/analytics/events",
      access: ["ingest"],
      limit: "unlimited",
      stream: true,
      async handler(request, response) {
        const patient = requireContentType(request, "application/json", NDJSON) === NDJSON;
        // A stream bounds itself by the batches that it has in flight.
        const intake = createIntake(ingest, request.identity, nowMs, { patient });
        if (patient) await readNdjson(request, intake);
        else {
          boundTime(request, response, context.config.http.timeoutMs);
          await takeList(request, intake);
        }
        if (!response.headersSent) response.json(intake.answer());
      },
    }),
  ];
}

async function takeList(request: ApiRequest, intake: Intake): Promise<void> {
  const body = await readRawBody(request, { maxBytes: MAX_BODY_BYTES });
  // An event stands two levels deep, and shows by one level too many that it is refused.
  const { value, deep } = parseDeepJson(body, 2 + MAX_DEPTH + 1);
  for (const [index, event] of eventList(value).entries()) {
    if (deep && nestsDeeper(event, MAX_DEPTH)) intake.refuse(index, tooDeep);
    else intake.take(event, index);
  }
  await intake.store();
}

/** The list in the body. What is wrong around it is the request's fault; what is wrong in it, that event's alone. */
function eventList(body: unknown): readonly unknown[] {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw InvalidInput.of([{ path: "", code: "invalid_type", message: 'send {"events": […]}' }]);
  const unknown = Object.keys(body).find((key) => key !== "events");
  if (unknown !== undefined)
    throw InvalidInput.of([{ path: unknown.slice(0, 80), code: "unknown_field", message: "unknown field" }]);
  const { events } = body as { events?: unknown };
  if (events === undefined)
    throw InvalidInput.of([{ path: "events", code: "required", message: "is required" }]);
  if (!Array.isArray(events))
    throw InvalidInput.of([{ path: "events", code: "invalid_type", message: "must be a list" }]);
  if (events.length > MAX_EVENTS)
    throw new TooLarge(
      "too_many_events",
      `A JSON body may have ${MAX_EVENTS} events; send more of them as ${NDJSON}.`,
    );
  return events;
}
