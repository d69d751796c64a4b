-- Health of a release or a flag (tidegate.dev, any kind) for Argo CD. Lua 5.1, no library needed.
--   Healthy      what the manifest asks for serves, and nothing is under way
--   Progressing  a release is under way; or it goes back because its owner changed the template again
--   Suspended    somebody paused the release, its Deployment, or the flag's rollout; or is to approve its next step
--   Degraded     reverted or being reverted, turned off by its analysis, blocked, invalid, held for longer than it may:
--                the message says why
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function because(type)
  return conditions[type] ~= nil and conditions[type].reason or ""
end

local function health(status_, message)
  return { status = status_, message = message or "" }
end

if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Tidegate has not seen this generation yet")
end
if is("Stalled") then
  return health("Degraded", status.message)
end
if is("Reconciling") then
  local paused = { Paused = true, TargetPaused = true, ApprovalNeeded = true }
  if paused[because("Reconciling")] then
    return health("Suspended", status.message)
  end
  -- Going back for a change of the owner's is no failure.
  local asked = { Superseded = true, TemplateRestored = true, ReleaseDeleted = true, LetGo = true }
  if status.phase == "Reverting" and not asked[because("RolledBack")] then
    return health("Degraded", status.message)
  end
  return health("Progressing", status.message)
end
if is("Ready") then
  return health("Healthy", status.message)
end
return health("Progressing", status.message)
