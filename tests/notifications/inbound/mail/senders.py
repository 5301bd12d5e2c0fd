"""Mails in the MIME shapes of known senders, rebuilt with invented content.

The shapes were read from public sources on 2026-11-28: Superset (superset/reports/notifications/email.py and
utils/core.py), Metabase (src/metabase/email/messages.clj), Jenkins (mailer-plugin, MimeMessageBuilder.java). The
documentation of Guandata and FineReport says what a mail contains (picture or HTML, Excel or PDF), not its shape:
theirs are as Java's mail library commonly writes them.
"""

from email import encoders
from email.header import Header
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from io import BytesIO

from openpyxl import Workbook

from tests.notifications.inbound import factories


def png(width: int = 600, height: int = 300, *, seed: int = 0) -> bytes:
    """Return a picture that is too large for an icon."""
    return factories.png(width, height, seed=seed)


def xlsx(*rows: list[object]) -> bytes:
    book = Workbook()
    sheet = book.create_sheet("Sheet", 0)
    for row in rows or (["城市", "金额"], ["上海", 1200]):
        sheet.append(row)
    content = BytesIO()
    book.save(content)
    return content.getvalue()


def pdf() -> bytes:
    return b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def as_sent(message: MIMEBase) -> bytes:
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def superset(*, subject: str = "[Report]  Sales", table: str = "", picture: bytes | None = None) -> bytes:
    """Return a related mail without Message-ID; the attachment has its disposition as a parameter of its type."""
    message = MIMEMultipart("related")
    message["Subject"], message["From"], message["To"] = subject, "superset@example.com", "zhang.wei@wecom.local"
    message["Date"] = "Sat, 28 Nov 2026 09:00:00 +0800"
    message.preamble = "This is a multi-part message in MIME format."
    cid = "176432.55.8821@example.com"
    image = f'<div class="image"><img width="1000px" src="cid:{cid}"></div>' if picture else ""
    html = f"""<html><head><style type="text/css">table, th, td {{ border-collapse: collapse; }}</style></head><body>
      <div>Daily sales</div><br>
      <b><a href="https://superset.example.com/superset/dashboard/8/?x=1&amp;y=2">Explore in Superset</a></b><p></p>
      {table}{image}</body></html>"""
    alternative = MIMEMultipart("alternative")
    alternative.attach(MIMEText(html, "html", "utf-8"))
    message.attach(alternative)
    rows = "城市,金额\r\n上海,1200\r\n".encode()
    message.attach(MIMEApplication(rows, Content_Disposition="attachment; filename='Sales.csv'", Name="Sales.csv"))
    if picture:
        image_part = MIMEImage(picture, name=f"{subject} Sat, 28 Nov 2026 09:00:00 +0800")
        image_part.add_header("Content-ID", f"<{cid}>")
        image_part.add_header("Content-Disposition", "inline")
        message.attach(image_part)
    return as_sent(message)


def metabase(*, message_id: str = "<1.2@metabase.example.com>") -> bytes:
    """Return a mixed mail: the HTML, its icons and charts inline, then files."""
    message = MIMEMultipart("mixed")
    message["Subject"], message["From"] = "Sales dashboard", "Metabase <metabase@example.com>"
    message["Message-ID"] = message_id
    html = """<!doctype html><html><head><meta charset="utf-8"><title>x</title></head><body>
      <table width="100%"><tr><td><img src="http://static.example.com/email_logo.png" width="48"></td></tr>
      <tr><td><h1><a href="https://metabase.example.com/dashboard/1">Sales dashboard</a></h1></td></tr>
      <tr><td><img src="cid:bell.png@metabase"><p>Revenue</p><img src="cid:IMAGE_9876@metabase"></td></tr>
      <tr><td><table><thead><tr><th>City</th><th>Amount</th></tr></thead><tbody><tr><td>Shanghai</td><td>1,200</td></tr>
      </tbody></table></td></tr></table>
      <div>Sent from Metabase</div><a href="https://metabase.example.com/unsubscribe">Unsubscribe</a></body></html>"""
    message.attach(MIMEText(html, "html", "utf-8"))
    for cid, content in (("bell.png@metabase", png(16, 16)), ("IMAGE_9876@metabase", png(540, 320, seed=9))):
        part = MIMEImage(content)
        part.add_header("Content-ID", f"<{cid}>")
        part.add_header("Content-Disposition", "inline", filename=cid.partition("@")[0])
        message.attach(part)
    sheet = MIMEApplication(xlsx(), "vnd.openxmlformats-officedocument.spreadsheetml.sheet")
    sheet.add_header("Content-Disposition", "attachment", filename="Revenue.xlsx")
    message.attach(sheet)
    return as_sent(message)


def jenkins() -> bytes:
    """Return a mixed mail with one plain part, and headers of Jenkins's own."""
    message = MIMEMultipart("mixed")
    message["Subject"], message["From"] = "Build failed in Jenkins: nightly-etl #42", "jenkins@ci.example.com"
    message["Message-ID"] = "<1177.1.1764288000000@ci.example.com>"
    message["X-Jenkins-Job"], message["List-ID"] = "nightly-etl", "<nightly-etl.ci.example.com>"
    message["X-Instance-Identity"] = "MIIB" + "A" * 400
    text = "See <https://ci.example.com/job/nightly-etl/42/display/redirect>\n\nChanges:\n\n[li] load orders_v2 first\n"
    message.attach(MIMEText(text, "plain", "utf-8"))
    return as_sent(message)


def guandata() -> bytes:
    """Return a mail in Java's way: related inside mixed, names as encoded words, the picture by its id, then Excel."""
    message = MIMEMultipart("mixed", boundary="----=_Part_12_1839471.1764288000000")
    message["Subject"] = Header("【订阅】销售日报 2026-11-27", "utf-8").encode()
    message["From"] = f"{Header('观远数据', 'utf-8').encode()} <bi@example.com>"
    message["Message-ID"] = "<1839471.13.1764288000000@bi-node-1>"
    related = MIMEMultipart("related")
    html = (
        "<div style='font-family:PingFang SC'><p>您好，您订阅的<b>销售日报</b>已更新：</p>"
        "<a href='https://bi.example.com/page/p1'>查看详情</a><br/><img src='cid:page_image_0'/></div>"
    )
    related.attach(MIMEText(html, "html", "gb2312"))
    image = MIMEImage(png(1200, 900, seed=3), "png")
    image.add_header("Content-ID", "<page_image_0>")
    related.attach(image)
    message.attach(related)
    sheet = MIMEBase("application", "octet-stream")
    sheet.set_payload(xlsx())
    encoded = Header("销售日报.xlsx", "utf-8").encode()
    sheet.replace_header("Content-Type", f'application/octet-stream; name="{encoded}"')
    sheet["Content-Disposition"] = f'attachment; filename="{encoded}"'
    encoders.encode_base64(sheet)
    message.attach(sheet)
    return as_sent(message)


def finereport() -> bytes:
    """Return a mail with the report as 8-bit HTML in GBK on one very long line, and as PDF."""
    message = MIMEMultipart("mixed")
    message["Subject"] = Header("经营分析报表", "gbk").encode()
    message["From"], message["Message-ID"] = "report@example.com", "<fr-20261128@report>"
    cells = "".join(f"<tr><td>分公司{number}</td><td>{number * 17}</td></tr>" for number in range(60))
    html = f"<html><body><table>{cells}</table></body></html>".encode("gbk")
    body = MIMEBase("text", "html", charset="GBK")
    body["Content-Transfer-Encoding"] = "8bit"
    body.set_payload(html.decode("ascii", "surrogateescape"))
    message.attach(body)
    part = MIMEApplication(pdf(), "pdf")
    part.add_header("Content-Disposition", "attachment", filename=("gbk", "", "经营分析.pdf"))
    message.attach(part)
    return as_sent(message)
