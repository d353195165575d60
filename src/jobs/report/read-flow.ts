import type { PlannedFlow } from "../../analytics/report-templates/plan-sections.js";
import type { Db } from "../../db/client.js";
import { readFlows } from "../../db/queries/read-flows.js";
import { described, type ReadReport } from "./section-table.js";

/** Two tables: what steps conversations took, and which followed which. */
export async function readFlowTables(db: Db, planned: PlannedFlow, accountId: string): Promise<ReadReport> {
  const { section, name, title, days, zoneId } = planned;
  const { depth, min_conversations: minConversations } = section;
  const flows = await readFlows(db, { ...days, accountId, zoneId, depth, minConversations });
  const conversations = { name: "conversations", title: "Conversations", unit: "conversations" as const };
  const position = { name: "position", title: "Step", type: "integer" as const };
  return {
    tables: [
      {
        ...described(planned),
        name: `${name}_steps`,
        title: `${title}: steps`,
        keys: [position, { name: "step", title: "What it is", type: "text" }],
        values: [conversations, { name: "drop_off", title: "Ended there", unit: "conversations" }],
        rows: flows.nodes.map((node) => ({
          position: node.position,
          step: node.step,
          conversations: node.conversations,
          drop_off: node.dropOff,
        })),
      },
      {
        ...described(planned),
        name: `${name}_links`,
        title: `${title}: from step to step`,
        description: undefined,
        keys: [
          position,
          { name: "from", title: "From", type: "text" },
          { name: "to", title: "To", type: "text" },
        ],
        values: [conversations],
        rows: flows.links.map((link) => ({ ...link })),
        rowsLeftOut: flows.hidden.links,
        leftOutBecause: `privacy: told from ${minConversations} conversations on`,
      },
    ],
    asOf: flows.as_of,
  };
}
