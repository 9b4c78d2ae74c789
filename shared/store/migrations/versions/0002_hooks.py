"""Named hooks, and the digest by which a delivery is known when it comes again under another id."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the hooks, and add the digest to the deliveries."""
    op.create_table(
        "hooks",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=True),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("repositories", sa.Text(), nullable=False),
        sa.Column("images", sa.Text(), nullable=False),
        sa.Column("max_body_bytes", sa.Integer(), nullable=True),
        sa.Column("options", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hooks")),
    )
    op.add_column("deliveries", sa.Column("body_sha256", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_deliveries_hook_body_sha256_received_at"),
        "deliveries",
        ["hook", "body_sha256", "received_at"],
        unique=False,
    )
