--- markdown.lua - Markdown as HTML: what our guides and comments use of it.
-- Headings, paragraphs, lists, tables, quotes, blocks of code; code, emphasis, links and pictures in the text.
local colour = require "colour"
local html = require "html"

local markdown = {}

--- What a page wants to know: `link(target)` → href; `name(code)` → href of what code in the text is about, or nil;
-- `headings`: each that was rendered, `anchors`: how often each has come.
local Page = {}
Page.__index = Page

-- In a text

--- Where the bracket that opens at `at` is closed.
local function closing(text, at, open, close)
  local depth, i = 0, at
  while i <= #text do
    local char = text:sub(i, i)
    if char == "\\" then
      i = i + 1
    elseif char == "`" then
      local _, to = text:find("^(`+).-%f[`]%1%f[^`]", i)
      i = to or i
    elseif char == open then
      depth = depth + 1
    elseif char == close then
      depth = depth - 1
      if depth == 0 then return i end
    end
    i = i + 1
  end
end

local inline = {}

inline["\\"] = function(_, text, at)
  local char = text:match("^\\([%p])", at)
  if char then return html.escape(char), at + 2 end
end

inline["`"] = function(page, text, at)
  local ticks = text:match("^`+", at)
  local from, to = text:find("%f[`]" .. ticks .. "%f[^`]", at + #ticks)
  if not from then return html.escape(ticks), at + #ticks end
  local code = text:sub(at + #ticks, from - 1):gsub("^ (.*) $", "%1"):gsub("\n", " ")
  local body = "<code>" .. html.escape(code) .. "</code>"
  return page.linked and body or html.link(page.name(code), body), to + 1
end

--- The text in brackets and what stands in parentheses after it; the place after both.
local function link_at(text, at)
  local last = closing(text, at, "[", "]")
  if not last or text:sub(last + 1, last + 1) ~= "(" then return nil end
  local stop = closing(text, last + 1, "(", ")")
  if stop then return text:sub(at + 1, last - 1), text:sub(last + 2, stop - 1), stop + 1 end
end

inline["["] = function(page, text, at)
  local label, target, after = link_at(text, at)
  if not label then return nil end
  local was = page.linked
  page.linked = true
  local body = page:inline(label)
  page.linked = was
  return html.link(page.link(target), body), after
end

inline["!"] = function(page, text, at)
  if text:sub(at + 1, at + 1) ~= "[" then return nil end
  local label, target, after = link_at(text, at + 1)
  if not label then return nil end
  return ('<img src="%s" alt="%s" loading=lazy>'):format(html.escape(page.link(target)), html.escape(label)), after
end

inline["<"] = function(_, text, at)
  local url = text:match("^<(%l+://[^>%s]+)>", at)
  if url then return html.link(url, html.escape(url)), at + #url + 2 end
  local entire = text:match("^<br>", at)
  if entire then return entire, at + #entire end
end

inline["*"] = function(page, text, at)
  local strong = text:match("^%*%*(%S.-)%*%*%f[^*]", at)
  if strong then return "<strong>" .. page:inline(strong) .. "</strong>", at + #strong + 4 end
  local weak = text:match("^%*([^%s*][^*]*)%*", at)
  if weak and not weak:find "%s$" then return "<em>" .. page:inline(weak) .. "</em>", at + #weak + 2 end
end

inline["_"] = function(page, text, at)
  local weak = text:match("^_(%w[^_\n]*)_%f[^%w_]", at)
  if weak and not text:find("^[%w_]", at - 1) then
    return "<em>" .. page:inline(weak) .. "</em>", at + #weak + 2
  end
end

--- What has nothing special in it; names such as ClosedError and StreamReader are linked, which nothing else is called.
function Page:plain(text)
  text = html.escape(text)
  if self.linked then return text end
  return (text:gsub("%f[%w_]%u%w*%l%u%w+%f[^%w_]", function(name) return html.link(self.name(name), name) end)
    :gsub("%f[%w]%u+Error%f[^%w_]", function(name) return html.link(self.name(name), name) end))
end

--- A text as HTML.
function Page:inline(text)
  local pieces, at = {}, 1
  while at <= #text do
    local plain = text:match("^[^\\`%[!<*_]+", at)
    if plain then
      pieces[#pieces + 1] = self:plain(plain)
      at = at + #plain
    else
      local char = text:sub(at, at)
      local piece, after = inline[char](self, text, at)
      pieces[#pieces + 1] = piece or html.escape(char)
      at = after or at + 1
    end
  end
  return table.concat(pieces)
end

--- A heading's anchor; one that comes again is numbered.
function Page:anchor(heading)
  local id = html.anchor(heading)
  local n = self.anchors[id]
  self.anchors[id] = (n or 0) + 1
  return n and id .. "-" .. n or id
end

-- Blocks: each takes the lines from `i` on, and says where it ended

local function fence(page, lines, i, out)
  local indent, mark, info = lines[i]:match "^( *)(```+)(.*)$"
  if not mark then return nil end
  local body, n = {}, i + 1
  while lines[n] and not lines[n]:find("^ *" .. mark .. " *$") do
    body[#body + 1] = lines[n]:gsub("^" .. indent, "")
    n = n + 1
  end
  local text = table.concat(body, "\n")
  out[#out + 1] = colour.block(text, info:match "^%s*(%w*)", function(name) return page.name(name) end)
  return n + 1
end

--- Code without a fence: what is indented by four after an empty line.
local function indented(_, lines, i, out)
  if not lines[i]:find "^    " or i > 1 and lines[i - 1]:find "%S" then return nil end
  local body, n = {}, i
  while lines[n] and (lines[n]:find "^    " or lines[n]:find "^%s*$" and (lines[n + 1] or ""):find "^    ") do
    body[#body + 1] = lines[n]:sub(5)
    n = n + 1
  end
  out[#out + 1] = colour.block(table.concat(body, "\n"), "")
  return n
end

local function heading(page, lines, i, out)
  local marks, text = lines[i]:match "^(#+) +(.-)%s*#*$"
  if not marks then return nil end
  page.linked = true
  local entry = { level = #marks, html = page:inline(text), text = html.plain(page:inline(text)) }
  page.linked = false
  entry.id = page:anchor(text)
  table.insert(page.headings, entry)
  if #marks == 1 then
    out[#out + 1] = ('<h1 id="%s">%s</h1>\n'):format(entry.id, entry.html)
  else
    local tag = "h" .. math.min(#marks, 6)
    out[#out + 1] = ('<%s id="%s">%s <a class=at href="#%s" aria-label="link">#</a></%s>\n'):format(tag, entry.id,
      entry.html, entry.id, tag)
  end
  return i + 1
end

local function cells_of(line)
  local cells, cell, ticks = {}, {}, nil
  line = line:gsub("^%s*|", ""):gsub("|%s*$", "")
  local i = 1
  while i <= #line do
    local run = line:match("^`+", i)
    local char = run or line:sub(i, i + (line:find("^\\|", i) and 1 or 0))
    if run then ticks = not ticks and run or ticks ~= run and ticks or nil end
    if char == "|" and not ticks then
      cells[#cells + 1], cell = table.concat(cell), {}
    else
      cell[#cell + 1] = char == "\\|" and "|" or char
    end
    i = i + #char
  end
  cells[#cells + 1] = table.concat(cell)
  return cells
end

--- `heads`: what stands above each cell, where that has to be said again on a phone, which has no columns.
local function table_row(page, line, tag, heads)
  local row = {}
  for i, cell in ipairs(cells_of(line)) do
    local head = heads and heads[i]
    row[i] = ("<%s%s>%s</%s>"):format(tag, head and (' data-h="%s"'):format(html.escape(head)) or "",
      page:inline(cell:match "^%s*(.-)%s*$"), tag)
  end
  return "<tr>" .. table.concat(row) .. "</tr>\n"
end

--- The heads of a table's columns as plain texts, but the first; nil where there are no more than two.
local function heads_of(page, line)
  local heads = cells_of(line)
  if #heads < 3 then return nil end
  for i, cell in ipairs(heads) do
    heads[i] = i > 1 and cell:find "%S" and html.plain(page:inline(cell:match "^%s*(.-)%s*$"))
  end
  return heads
end

local function grid(page, lines, i, out)
  if not (lines[i]:find "^|" and (lines[i + 1] or ""):find "^|[%s:|-]+$") then return nil end
  out[#out + 1] = "<div class=wide><table>\n"
  if lines[i]:find "[^%s|]" then out[#out + 1] = "<thead>" .. table_row(page, lines[i], "th") .. "</thead>\n" end
  local n, heads = i + 2, heads_of(page, lines[i])
  while lines[n] and lines[n]:find "^|" do
    out[#out + 1] = table_row(page, lines[n], "td", heads)
    n = n + 1
  end
  out[#out + 1] = "</table></div>\n"
  return n
end

local function quote(page, lines, i, out)
  if not lines[i]:find "^>" then return nil end
  local body, n = {}, i
  while lines[n] and lines[n]:find "^>" do
    body[#body + 1] = lines[n]:gsub("^> ?", "")
    n = n + 1
  end
  out[#out + 1] = "<blockquote>\n" .. page:blocks(body) .. "</blockquote>\n"
  return n
end

--- The kind of a list, and how far its text is indented, if the line begins an item.
local function item_at(line)
  local lead = line and line:match "^ *[*+-] +%f[%S]"
  if lead then return "ul", #lead end
  lead = line and line:match "^ *%d+[.)] +%f[%S]"
  if lead then return "ol", #lead end
end

--- An item's lines; where it ends, and whether an empty line stands in it.
local function item_lines(lines, i, width)
  local body, n, loose = { lines[i]:sub(width + 1) }, i + 1, false
  while lines[n] do
    local line = lines[n]
    local indent = #line:match "^ *"
    if line:find "^%s*$" then
      if not lines[n + 1] or #lines[n + 1]:match "^ *" < width or lines[n + 1]:find "^%s*$" then break end
      loose = true
    elseif indent < width and (item_at(line) or lines[n - 1]:find "^%s*$" or line:find "^#" or line:find "^```") then
      break
    end
    body[#body + 1] = indent >= width and line:sub(width + 1) or line:sub(indent + 1)
    n = n + 1
  end
  return body, n, loose
end

local function list(page, lines, i, out)
  local kind = item_at(lines[i])
  if not kind then return nil end
  local indent, n = #lines[i]:match "^ *", i
  out[#out + 1] = "<" .. kind .. ">\n"
  while item_at(lines[n]) == kind and #lines[n]:match "^ *" == indent do
    local _, width = item_at(lines[n])
    local body, after, loose = item_lines(lines, n, width)
    local text = page:blocks(body)
    if not loose then text = text:gsub("^<p>(.-)</p>\n", "%1\n", 1) end
    out[#out + 1] = "<li>" .. text .. "</li>\n"
    while lines[after] and lines[after]:find "^%s*$" and item_at(lines[after + 1]) == kind do after = after + 1 end
    n = after
  end
  out[#out + 1] = "</" .. kind .. ">\n"
  return n
end

local function rule(_, lines, i, out)
  if not lines[i]:find "^%-%-%-+%s*$" then return nil end
  out[#out + 1] = "<hr>\n"
  return i + 1
end

local function starts_block(lines, i)
  local line = lines[i]
  return line:find "^ *```" or line:find "^#+ " or line:find "^>" or line:find "^%-%-%-+%s*$" or item_at(line)
    or line:find "^|" and (lines[i + 1] or ""):find "^|[%s:|-]+$"
end

local function paragraph(page, lines, i, out)
  local body, n = {}, i
  while lines[n] and not lines[n]:find "^%s*$" and (n == i or not starts_block(lines, n)) do
    body[#body + 1] = lines[n]:match "^%s*(.*)$"
    n = n + 1
  end
  local text = page:inline(table.concat(body, "\n"))
  local picture = text:match '^<img src="([^"]*)" [^>]*>$' -- on a phone one wants to see it by itself
  out[#out + 1] = picture and ('<figure><a href="%s">%s</a></figure>\n'):format(picture, text)
    or "<p>" .. text .. "</p>\n"
  return n
end

local BLOCKS = { fence, indented, heading, grid, quote, rule, list, paragraph }

--- Lines as HTML.
function Page:blocks(lines)
  local out, i = {}, 1
  while lines[i] do
    local after
    if lines[i]:find "^%s*$" then
      after = i + 1
    else
      for _, block in ipairs(BLOCKS) do
        after = block(self, lines, i, out)
        if after then break end
      end
    end
    i = after
  end
  return table.concat(out)
end

--- A page to render texts for: see Page.
function markdown.page(page)
  page.headings, page.anchors = {}, {}
  return setmetatable(page, Page)
end

--- A text as HTML, in blocks.
function Page:render(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return self:blocks(lines)
end

return markdown
