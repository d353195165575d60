import { openContext } from "../context.js";
import { runProcess } from "../run-process.js";
import { announceRetiring, seenAllConnections } from "../supervised.js";
import { apiRoutes } from "./routes/index.js";
import { startServer } from "./server.js";

runProcess("api", async (config, log, stop) => {
  const context = await openContext(config, { process: "api", log });
  const server = await startServer(context, apiRoutes(context), {
    onWornOut: () => {
      // A supervisor sends SIGTERM once the successor serves; without one somebody else restarts us.
      if (!announceRetiring()) stop("max_requests reached");
    },
  });
  return {
    url: server.url,
    async stop() {
      await server.drain();
      await seenAllConnections();
      await context[Symbol.asyncDispose]();
    },
  };
});
