-- The same program with the library itself and with ours: what each prints, part by part, must be the same.
local t = require "helper"
local program = require "program"

local answers = {}

--- Part → its lines, of what the shell command prints.
local function parts_of(command)
  local parts, part = {}, nil
  for line in program.shell("%s", command):gmatch "[^\n]+" do
    local name = line:match "^%[([%l_]+)%]$"
    if name then
      part = {}
      parts[name] = part
    elseif part then
      part[#part + 1] = line
    else
      t.fail(line)
    end
  end
  return parts
end

--- A function of a part's name and of where ours runs, which compares them. The program is run once in each place.
-- command: gives the shell command, of the interpreter and the place
function answers.comparing(command)
  local real, ours = nil, {}
  return function(name, where)
    real = real or parts_of(command(program.plain_lua, "REAL"))
    ours[where] = ours[where] or parts_of(command(program.checked_lua, where))
    t.assertNotNil(ours[where][name])
    t.assertEquals(ours[where][name], real[name])
  end
end

return answers
