--- What the error classes have beyond C: ExceptionGroup.
-- @module asyncio.errors
local check = require "asyncio.check"
local core = require "asyncio.core"

local isinstance, words, ExceptionGroup = core.isinstance, core.words, core.ExceptionGroup

--- Several errors as one: what leaves a task group. `ExceptionGroup(message, errors)` makes it;
-- `errors` is the list. `tostring` shows each with its traceback.
-- @type ExceptionGroup
-- @usage
-- local ok, err = pcall(function()
--   local group <close> = asyncio.TaskGroup()
--   group:create_task(error, asyncio.TimeoutError "no answer")
--   group:create_task(error, "sour milk")
-- end)
-- local late, others = err:split(asyncio.TimeoutError)
-- print(ok, #late.errors, others.errors[1]) --> false  1  sour milk
function ExceptionGroup:init(message, errors)
  if type(message) == "table" and errors == nil then return end -- ExceptionGroup{message=, errors=}
  check.table(errors, 2, "ExceptionGroup", "list of errors")
  local n = errors.n or #errors
  self.message, self.errors = message, table.move(errors, 1, n, 1, {})
  for i = 1, n do
    if errors[i] == nil then self.errors.n = n end -- there is a nil among them: the length needs telling
  end
end

local function length(errors) return errors.n or #errors end

local function matcher(group, match, name)
  if not isinstance(group, ExceptionGroup) then core.bad_self(group, "asyncio.ExceptionGroup", name) end
  if type(match) == "table" then return function(err) return isinstance(err, match) end end
  if type(match) ~= "function" then check.fail(1, name, "error class or function", match) end
  return match
end

--- Both parts of a group; a part without errors is nil.
local function divide(group, matches)
  if matches(group) then return group, nil end
  local yes, no = { n = 0 }, { n = 0 }
  local function add(to, err, traceback)
    to.n = to.n + 1
    to[to.n] = err
    if traceback then
      to.tracebacks = to.tracebacks or {}
      to.tracebacks[to.n] = traceback
    end
  end
  for i = 1, length(group.errors) do
    local err, traceback = group.errors[i], group.tracebacks and group.tracebacks[i]
    if isinstance(err, ExceptionGroup) then
      local inner_yes, inner_no = divide(err, matches)
      if inner_yes then add(yes, inner_yes, traceback) end
      if inner_no then add(no, inner_no, traceback) end
    else
      add(matches(err) and yes or no, err, traceback)
    end
  end
  local function part(errors)
    if errors.n == 0 then return nil end
    local new = getmetatable(group)(group.message, errors)
    new.tracebacks = errors.tracebacks
    return new
  end
  return part(yes), part(no)
end

--- The group with only the errors that match, nested groups kept; nil when none does.
-- @param match an error class, or a function of an error
-- @treturn ?ExceptionGroup
function ExceptionGroup:subgroup(match)
  return (divide(self, matcher(self, match, "subgroup")))
end

--- Two groups: the errors that match, and the rest; nil for an empty one.
-- @param match an error class, or a function of an error
-- @treturn ?ExceptionGroup
-- @treturn ?ExceptionGroup
function ExceptionGroup:split(match)
  local yes, no = divide(self, matcher(self, match, "split"))
  return yes, no
end

local function indented(text) return (text:gsub("\n", "\n    ")) end

function ExceptionGroup:__tostring()
  local errors = self.errors or {}
  local lines = { ("%s: %s (%d)"):format(self.name, words(self.message or self.text), length(errors)) }
  for i = 1, length(errors) do
    local err = errors[i]
    lines[#lines + 1] = ("  %d. %s"):format(i, indented(words(err)))
    local own = type(err) == "table" and rawget(err, "traceback")
    local traceback = self.tracebacks and self.tracebacks[i] or own
    if traceback then lines[#lines + 1] = "    " .. indented(words(traceback)) end
  end
  lines[#lines + 1] = core.left_from(self)
  return table.concat(lines, "\n")
end

return ExceptionGroup
