-- Memberships whose rows were deleted for good, by whoever did that. Without a row a user's home organization counts as a
-- membership with the user's own role (older databases have no rows), so the deletion of a row would give it back.
-- Written by a trigger (authcore/store/former_memberships.py); a live row in user_organizations counts before one here.

CREATE TABLE gateway_former_memberships (
    user_id uuid NOT NULL,
    organization_id uuid NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, organization_id)
);
