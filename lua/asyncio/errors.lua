--- What the error classes have beyond C: ExceptionGroup.
-- @module asyncio.errors
local core = require "asyncio.core"

local isinstance, ExceptionGroup = core.isinstance, core.ExceptionGroup

--- Several errors as one. `ExceptionGroup(message, errors)`; `errors` is the list.
-- @type ExceptionGroup
function ExceptionGroup:init(message, errors)
  if type(message) == "table" and errors == nil then return end -- ExceptionGroup{message=, errors=}
  if type(errors) ~= "table" then
    error("bad argument #2 to 'ExceptionGroup' (list of errors expected)", 3)
  end
  self.message, self.errors = message, table.move(errors, 1, #errors, 1, {})
end

--- The group with only the errors that match, nested groups kept; nil when none does.
-- @param match an error class, or a function of an error
-- @treturn ?ExceptionGroup
function ExceptionGroup:subgroup(match)
  return (self:split(match))
end

--- Two groups: the errors that match, and the rest; nil for an empty one.
-- @param match an error class, or a function of an error
-- @treturn ?ExceptionGroup
-- @treturn ?ExceptionGroup
function ExceptionGroup:split(match)
  local matches = match
  if type(match) == "table" then matches = function(err) return isinstance(err, match) end end
  if type(matches) ~= "function" then
    error("bad argument #1 to 'split' (error class or function expected)", 2)
  end
  if matches(self) then return self, nil end
  local yes, no = {}, {}
  for _, err in ipairs(self.errors) do
    if isinstance(err, ExceptionGroup) then
      local inner_yes, inner_no = err:split(matches)
      yes[#yes + 1], no[#no + 1] = inner_yes, inner_no
    elseif matches(err) then
      yes[#yes + 1] = err
    else
      no[#no + 1] = err
    end
  end
  local class = getmetatable(self)
  return yes[1] ~= nil and class(self.message, yes) or nil, no[1] ~= nil and class(self.message, no) or nil
end

local function indented(text) return (tostring(text):gsub("\n", "\n    ")) end

function ExceptionGroup:__tostring()
  local lines = { ("%s: %s (%d)"):format(self.name, self.message or self.text, #(self.errors or {})) }
  for i, err in ipairs(self.errors or {}) do
    lines[#lines + 1] = ("  %d. %s"):format(i, indented(err))
    local traceback = type(err) == "table" and rawget(err, "traceback")
    if traceback then lines[#lines + 1] = "    " .. indented(traceback) end
  end
  return table.concat(lines, "\n")
end

return ExceptionGroup
