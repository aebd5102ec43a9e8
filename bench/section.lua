-- section.lua PAGE HEADING FILE - puts what a file has below a heading of the second rank, in the place of
-- what stood there; at the page's end where it has no such heading.
local page, heading, path = arg[1], "## " .. arg[2], arg[3]

local function read(name)
  local file <close> = assert(io.open(name))
  return file:read "a"
end

local text = "\n" .. read(page)
local section = ("\n%s\n\n%s\n"):format(heading, (read(path):gsub("\n+$", "")))
local first = text:find("\n" .. heading .. "\n", 1, true)
local after = first and text:find("\n## ", first + 1, true) or #text + 1
first = first or after
local whole = text:sub(1, first - 1) .. section .. text:sub(after)
local file <close> = assert(io.open(page, "w"))
file:write((whole:sub(2)))
