--- `asyncio ps [PID]`: the processes that have a monitor, and their loops.
-- @module asyncio.looking.ps
local asyncio = require "asyncio"
local client = require "asyncio.looking.client"

--- The rows of a process: one for each loop. nil: it is none any more.
local function rows_of(process)
  local facts, rows = client.facts(process.pid), {}
  local name = tostring(process.pid or process.name)
  local ok, err = asyncio.pcall(function()
    local connection <close> = client.connect(process)
    for _, number in ipairs(connection:loops()) do
      local row = { name, tostring(number), "", "", "", facts.command }
      rows[#rows + 1] = row
      local inner <close> = client.connect(process)
      local answered, answer = asyncio.pcall(inner.ask, inner, ("stats %d"):format(number))
      if answered then
        local numbers = client.parse(answer).numbers
        row[3] = ("%d"):format(numbers.tasks or 0)
        row[4] = client.duration(numbers.uptime or 0)
        row[5] = ("%.0f %%"):format(100 * (numbers.busy or 0) / math.max(numbers.uptime or 1, 1e-9))
      else
        row[6] = facts.command .. " (does not answer: computing or stopped)"
      end
    end
  end)
  if ok then return rows end
  if not asyncio.isinstance(err, client.Failure) then error(err, 0) end
  if err.message:find "has ended" then return nil, err end
  return { { name, "", "", "", "", ("%s (%s)"):format(facts.command, err.message:gsub("^%S+ ", "")) } }
end

local HEADS = { "PID", "LOOP", "TASKS", "UP", "BUSY", "COMMAND" }

local function print_rows(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, field in ipairs(row) do widths[i] = math.max(widths[i] or 0, #field) end
  end
  for _, row in ipairs(rows) do
    local parts = {}
    for i, field in ipairs(row) do
      local pad = (" "):rep(widths[i] - #field)
      parts[i] = i == #row and field or pad .. field
    end
    io.stdout:write(table.concat(parts, "  "), "\n")
  end
end

local function main(name)
  local processes = name and { client.find(name) } or client.sockets()
  local all, rows = {}, { HEADS }
  for i, process in ipairs(processes) do all[i] = asyncio.create_task(rows_of, process) end
  for _, task in ipairs(all) do
    local found, why = asyncio.await(task)
    if name and not found then error(why, 0) end
    for _, row in ipairs(found or {}) do rows[#rows + 1] = row end -- who has ended left its socket: skipped
  end
  print_rows(rows)
end

return function(name) return client.run(main, name) end
