"""What a person looks at: answers as pages of HTML, from a file or from a server on this machine.

In: the JSON of answers (api/answers.py), and the videos they name. Out: HTML in which the names, captions and
sentences of strangers are text and nothing else: Jinja escapes them, and what could steer a terminal or turn a line
around is shown as an escape before.

    cards.py       hits -> what a card shows of each
    gallery.py     answers -> one self-contained page: `hcq query --html`
    report.py      a workspace -> a page about it: `hcq report`
    evaluation.py  an evaluation -> a page: `hcq eval --html`
    batches.py     queries of many clients -> answered together, by one thread
    media.py       what a server gives of a video: the file in ranges, thumbnails, previews that any browser plays
    guard.py       who may ask what of the server, and how often
    connections.py those to the server, closed where no whole request comes in time
    shells.py      command lines of this person's shells, answered by the server
    server.py      the server: `hcq serve`
    templates/     the pages; cards.html is in all of them
    static/        their style, and two small scripts
"""
