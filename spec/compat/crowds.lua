-- crowds.lua - for specs of other libraries' HTTP clients: many at once, and a server's handler for them.
local asyncio = require "asyncio"
local crowds = {}

crowds.TOGETHER = 20

--- fn(i) in so many tasks at once.
function crowds.together(fn)
  local group <close> = asyncio.TaskGroup()
  for i = 1, crowds.TOGETHER do group:create_task(fn, i) end
end

--- Waits until all have asked, and answers then.
function crowds.crowd()
  local asked, everybody = 0, asyncio.Event()
  return function()
    asked = asked + 1
    if asked == crowds.TOGETHER then everybody:set() end
    everybody:wait()
  end
end

--- Answers with the path, and what was posted.
function crowds.answers(gather)
  return function(reader, writer)
    local path = reader:readline():match "^%u+ (%S+)"
    local length = 0
    for line in reader:lines "\r\n" do
      if line == "" then break end
      length = tonumber(line:lower():match "^content%-length: (%d+)") or length
    end
    local body = path .. (length > 0 and " " .. reader:readexactly(length) or "")
    if gather then gather() end
    writer:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(#body, body))
  end
end

return crowds
