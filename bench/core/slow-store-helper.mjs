import { helpExport } from "../../dist/jobs/help-export.js";
import { slowContext } from "./slow-store.mjs";

/** A second worker: builds the parts that it is asked for by a message, and goes on as long as there are some. */
const context = slowContext(JSON.parse(process.argv[2]), help);

function help(payload) {
  helpExport.run(payload, context).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

process.on("message", help);
process.on("disconnect", () => process.exit(0));
process.send("ready");
