"""Alembic's entry: one version table of our own, whatever else the database holds."""

from alembic import context

from xtiger.migrations import VERSION_TABLE, include_name

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=context.config.attributes.get("metadata"),
    version_table=VERSION_TABLE,
    include_name=include_name,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
