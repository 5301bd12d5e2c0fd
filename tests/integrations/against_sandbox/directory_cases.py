"""Cases of sign-in and the directory."""

from __future__ import annotations

from integrations.clients.wecom.contacts import Department, Identity, MemberPage, MemberRow, Tag, User
from tests.integrations.against_sandbox.cases import case
from tests.integrations.against_sandbox.place import Place

LILEI = User(
    userid="LiLei",
    name="李雷",
    department_ids=(2,),
    main_department_id=2,
    is_leader_in=(False,),
    position="经理",
    status=1,
    is_enabled=True,
)
# Of 韩梅梅's departments (3 and 4) the app sees the first only, which is her main one.
HANMEIMEI = User(
    userid="hanmeimei",
    name="韩梅梅",
    department_ids=(3,),
    main_department_id=3,
    is_leader_in=(False,),
    status=1,
    is_enabled=True,
)
SALES = Department(2, 1, "销售部", order=10)
EAST = Department(3, 2, "华东区")
ROWS = (
    MemberRow("LiLei", 2),
    MemberRow("hanmeimei", 3),
    MemberRow("hanmeimei", 4),
    MemberRow("jim", 4),
)


@case("auth/getuserinfo")
def auth_getuserinfo(at: Place) -> None:
    assert at.app.auth_getuserinfo(at.code("jim")) == Identity("jim")


@case("user/get")
def user_get(at: Place) -> None:
    assert at.app.user_get("LILEI") == LILEI
    assert at.app.user_get("hanmeimei") == HANMEIMEI


@case("user/simplelist")
def user_simplelist(at: Place) -> None:
    assert at.app.user_simplelist(2) == (User("LiLei", "李雷", (2,)),)
    assert at.app.user_simplelist(3) == (User("hanmeimei", "韩梅梅", (3,)),)


@case("user/list")
def user_list(at: Place) -> None:
    assert at.app.user_list(2) == (LILEI,)
    assert at.app.user_list(3) == (HANMEIMEI,)


@case("user/list_id")
def user_list_id(at: Place) -> None:
    first = at.contacts.user_list_id(limit=3)
    assert first.rows == ROWS[:3]
    assert at.contacts.user_list_id(first.next_cursor, limit=3) == MemberPage(ROWS[3:], "")


@case("user/list_id")
def user_list_id_pages(at: Place) -> None:
    assert [page.rows for page in at.contacts.user_list_id_pages(limit=3)] == [ROWS[:3], ROWS[3:]]


@case("department/list")
def department_list(at: Place) -> None:
    assert at.app.department_list() == (SALES, EAST)
    assert at.app.department_list(3) == (EAST,)
    assert [one.department_id for one in at.whole.department_list(1)] == [1, 2, 3, 4]
    assert at.whole.department_list(1)[0] == Department(1, 0, "北山制造")


@case("department/simplelist")
def department_simplelist(at: Place) -> None:
    assert at.app.department_simplelist() == (Department(2, 1, order=10), Department(3, 2))
    assert at.contacts.department_simplelist(4) == (Department(4, 1),)


@case("department/get")
def department_get(at: Place) -> None:
    assert at.app.department_get(2) == SALES


@case("tag/get")
def tag_get(at: Place) -> None:
    assert at.app.tag_get(1) == Tag("值班", (("LiLei", "李雷"),), (3,))
