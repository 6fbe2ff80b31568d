// The SDK bundles this file when the worker starts.
import { proxyActivities } from "@temporalio/workflow";

const { run_until_released } = proxyActivities<{ run_until_released(): Promise<void> }>({
  startToCloseTimeout: "1 hour",
  allowEagerDispatch: false,
});

/** One activity, however often it has to be tried. */
export async function Task(): Promise<void> {
  await run_until_released();
}
