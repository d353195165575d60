import { z } from "zod";
import {
  MAX_FLOW_CONVERSATIONS,
  MAX_FLOW_DAYS,
  MAX_FLOW_DEPTH,
  readStep,
  wholeDays,
} from "../../analytics/flow.js";
import { metricsScalars } from "../../analytics/metrics-query.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { type FlowNode, type Flows, readFlows } from "../../db/queries/read-flows.js";
import { Unavailable } from "../../errors.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const whole = (max: number) => {
  const error = `must be a whole number from 1 to ${max.toLocaleString("en")}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, error)
    .transform(Number)
    .refine((value) => value >= 1 && value <= max, { error, params: { code: "out_of_range" } });
};

const parameters = z.strictObject({
  account_id: accountIdText,
  from: metricsScalars.from,
  to: metricsScalars.to,
  depth: whole(MAX_FLOW_DEPTH).default(6),
  min_conversations: whole(MAX_FLOW_CONVERSATIONS).default(5),
});

/** `GET /analytics/flows`: the ways through conversations, for a Sankey diagram. */
export function flowRoutes({ db }: Context): Route[] {
  return [
    route({
      method: "get",
      path: "/analytics/flows",
      access: ["viewer"],
      limit: "metrics",
      async handler(request, response) {
        const asked = readQuery(request, parameters);
        requireAccount(request.identity, asked.account_id);
        const account = await findAccount(db, asked.account_id);
        if (!account) throw accountNotFound();
        const days = wholeDays(asked.from, asked.to, account.time_zone, MAX_FLOW_DAYS);
        if (account.zone_id === null)
          throw new Unavailable(
            "days_being_built",
            `The days of ${account.time_zone}, the account's new time zone, are still being counted.`,
            { headers: { "retry-after": "60" } },
          );
        const flows = await readFlows(db, {
          ...days,
          accountId: account.account_id,
          zoneId: account.zone_id,
          depth: asked.depth,
          minConversations: asked.min_conversations,
        });
        response.json({
          account_id: account.account_id,
          from: asked.from.toISOString(),
          to: asked.to.toISOString(),
          time_zone: account.time_zone,
          as_of: flows.as_of,
          conversations: flows.conversations,
          ...presentWays(flows),
          hidden: flows.hidden,
        });
      },
    }),
  ];
}

const nodeId = (position: number, step: string): string => `${position}:${step}`;

const presentWays = ({ nodes, links }: Flows) => ({
  nodes: nodes.map(presentNode),
  links: links.map(({ position, from, to, conversations }) => ({
    source: nodeId(position, from),
    target: nodeId(position + 1, to),
    conversations,
  })),
});

const presentNode = ({ position, step, conversations, dropOff }: FlowNode) => ({
  id: nodeId(position, step),
  position,
  step,
  ...readStep(step),
  conversations,
  drop_off: dropOff,
  drop_off_rate: dropOff === null ? null : dropOff / conversations,
});
