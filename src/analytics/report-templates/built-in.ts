/** The templates that every account has. */
import { conversationFlow } from "./built-in/conversation-flow.js";
import { deliverySummary } from "./built-in/delivery-summary.js";
import { engagementSummary } from "./built-in/engagement-summary.js";
import { executiveOverview } from "./built-in/executive-overview.js";
import { messageLog } from "./built-in/message-log.js";
import { queuePerformance } from "./built-in/queue-performance.js";
import { templatePerformance } from "./built-in/template-performance.js";
import type { ReportTemplate } from "./definition.js";
import type { Section } from "./sections.js";
import { defaultTitle } from "./words.js";

export const builtInTemplates: readonly ReportTemplate[] = [
  deliverySummary,
  messageLog,
  engagementSummary,
  queuePerformance,
  conversationFlow,
  templatePerformance,
  executiveOverview,
];

const byName = new Map(builtInTemplates.map((template) => [template.name, template]));

export const findBuiltIn = (name: string): ReportTemplate | undefined => byName.get(name);

/** The built-in templates in Markdown, for docs/reports.md: a chapter each, with a table of its sections. */
export function renderBuiltInTemplates(): string {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return builtInTemplates
    .map(({ name, description, sections }) =>
      [
        `### \`${name}\``,
        "",
        description,
        "",
        row(["section", "title", "rows", "what it says"]),
        row(["---", "---", "---", "---"]),
        ...sections.map((one) =>
          row([`\`${one.id}\``, one.title ?? defaultTitle(one), rowsText(one), contentText(one)]),
        ),
      ].join("\n"),
    )
    .join("\n\n");
}

function rowsText(section: Section): string {
  switch (section.kind) {
    case "table": {
      const groups = Array.isArray(section.group_by)
        ? section.group_by.map((name) => `\`${name}\``)
        : section.group_by
          ? ["each dimension of the request's `group_by`"]
          : [];
      const interval = section.interval === "requested" ? "the request's `interval`" : section.interval;
      const by = [...(interval ? [interval] : []), ...groups].join(" and ");
      const first = section.limit
        ? `, the first ${section.limit.toLocaleString("en")} by \`${section.order!.by}\``
        : "";
      return by ? `by ${by}${first}` : "one";
    }
    case "comparison":
      return "`current`, `previous`, `change`";
    case "heatmap":
      return "by weekday and hour";
    case "flow":
      return `steps and links, ${section.depth} deep, from ${section.min_conversations} conversations on`;
    case "rows":
      return "one a message";
  }
}

function contentText(section: Section): string {
  if (section.kind === "heatmap") return `\`${section.metric}\``;
  if (section.kind === "flow") return "conversations on each way, and where they end";
  if (section.kind === "rows") return "all columns of the dataset `messages`";
  return section.metrics.map((id) => `\`${id}\``).join(", ");
}
