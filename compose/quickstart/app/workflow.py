"""The order in which a document is processed, and what happens when a step fails."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from app.activities import Analysis, DocumentActivities

TASK_QUEUE = "document-processing"

# When a worker dies in the middle of a step, Temporal notices after this time and gives the step to
# another worker. Waiting for a free worker has no limit: waiting steps are the backlog, and the
# autoscaler reacts to that.
STEP_TIMEOUT = timedelta(seconds=30)
RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=5,
)


@workflow.defn
class ProcessDocumentWorkflow:
    """Extract, analyse and store one document. The id of the workflow is the id of the document."""

    @workflow.run
    async def run(self, document: bytes) -> Analysis:
        """Process the uploaded bytes."""
        text = await workflow.execute_activity_method(
            DocumentActivities.extract_text,
            document,
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=RETRIES,
        )
        analysis = await workflow.execute_activity_method(
            DocumentActivities.analyze_content,
            text,
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=RETRIES,
        )
        await workflow.execute_activity_method(
            DocumentActivities.store_results,
            args=[workflow.info().workflow_id, analysis],
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=RETRIES,
        )
        return analysis
