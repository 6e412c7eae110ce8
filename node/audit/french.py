"""The words of a printed report in French, by their English ones.

What stands in the record under a name keeps it: calls, refusals, states.
"""

from typing import Final

FRENCH: Final = {
    "Audit report of a Dépoli ledger": "Rapport d'audit d'un registre Dépoli",
    "Every fact in blocks 1 to {} is true.": "Tous les faits des blocs 1 à {} sont vrais.",
    "The chain has no block yet; its genesis is true.": (
        "La chaîne n'a pas encore de bloc ; son acte de fondation est vrai."
    ),
    "network": "réseau",
    "chain": "chaîne",
    "last block": "dernier bloc",
    "from": "du",
    "to": "au",
    "export, SHA-256": "export, SHA-256",
    "bytes": "octets",
    "log": "journal",
    "{} entries, root {}": "{} entrées, racine {}",
    "state digest": "empreinte de l'état",
    "made by": "établi par",
    "made on": "établi le",
    "software": "logiciel",
    "signed under the key": "signé avec la clef",
    "digest of this report": "empreinte de ce rapport",
    "nobody: whoever has the export and the genesis can make it again": (
        "personne : quiconque détient l'export et l'acte de fondation peut le refaire"
    ),
    "This page was printed from a file whose signature a reader verifies with {}.": (
        "Cette page a été imprimée d'un fichier dont le lecteur vérifie la signature par {}."
    ),
    "What was checked": "Ce qui a été vérifié",
    "What this cannot say": "Ce que ce rapport ne peut pas dire",
    "blocks": "blocs",
    "transactions": "transactions",
    "calls": "appels",
    "signatures verified": "signatures vérifiées",
    "rules": "règles",
    "version {} from block {}": "version {} à partir du bloc {}",
    "the genesis is signed by every validator in it, and is the one that the auditor holds": (
        "l'acte de fondation est signé par chacun de ses validateurs ; c'est celui de l'auditeur"
    ),
    "every record of the export has its checksum, and is the one encoding of what it says": (
        "chaque enregistrement de l'export a sa somme de contrôle et son unique codage"
    ),
    "every block follows the one before: height, parent, time, chain, version of the rules": (
        "chaque bloc suit le précédent : hauteur, parent, heure, chaîne, version des règles"
    ),
    "every block is certified by a quorum of its validators, and each signature was verified": (
        "chaque bloc est certifié par un quorum des validateurs de sa hauteur, signatures vérifiées"
    ),
    "every block carries a certificate of its parent, and was built by whose turn it was": (
        "chaque bloc porte un certificat de son parent, et a été construit par qui c'était le tour"
    ),
    "every change of validators follows from a vote, and from keys that proved themselves": (
        "chaque changement de validateurs suit un vote, et des clefs dont la possession est prouvée"
    ),
    "every transaction is signed by a key of its sender that was good then, in time, and once": (
        "chaque transaction est signée, à temps et une fois, d'une clef alors valable de son auteur"
    ),
    "every call was executed again, and its outcome is the one that stands in the block": (
        "chaque appel a été exécuté de nouveau ; son issue est celle qu'indique le bloc"
    ),
    "the roots of the log and of the heads, and the digest of the state, are as executed": (
        "les racines du journal et des têtes, et l'empreinte de l'état, sont celles de l'exécution"
    ),
    "all evidence against validators convicts whom it names": (
        "toute preuve contre un validateur confond celui qu'elle nomme"
    ),
    "whether what a shop or an insurer says is true: the chain shows who said it, and when": (
        "si ce que dit un magasin ou un assureur est vrai : la chaîne montre qui l'a dit, et quand"
    ),
    "whether this is the only chain: another export (depoli audit fork) or a witness shows that": (
        "si cette chaîne est la seule : un autre export (depoli audit fork) ou un témoin le montre"
    ),
    "whether it reaches to the last block of today: others know their last header": (
        "si elle va jusqu'au dernier bloc d'aujourd'hui : d'autres connaissent leur dernier en-tête"
    ),
    "what commitments hide: that takes their openings, which are not on the chain": (
        "ce que cachent les engagements : il y faut leurs ouvertures, qui ne sont pas sur la chaîne"
    ),
    "whether an organisation's certificate is genuine: depoli member verify-certificate": (
        "si le certificat d'une organisation est authentique : depoli member verify-certificate"
    ),
    "whether bytes hide what may not stand there: depoli audit privacy says how far one can see": (
        "si des octets cachent ce qui ne doit pas y être : voir depoli audit privacy"
    ),
    "What looks odd": "Ce qui sort de l'ordinaire",
    "Each may be lawful; it is told so that somebody asks.": (
        "Chaque cas peut être licite ; il est dit pour que quelqu'un pose la question."
    ),
    "what": "quoi",
    "how many": "combien",
    "calls that were refused": "appels refusés",
    "overdue": "en retard",
    "in dispute": "en litige",
    "blocks built in a later round": "blocs construits à un tour ultérieur",
    "an hour or more without a block": "une heure ou plus sans bloc",
    "evidence against validators": "preuves contre des validateurs",
    "Refused, by reason": "Refusés, par motif",
    "reason": "motif",
    "Overdue, the earliest first": "En retard, le plus ancien d'abord",
    "In dispute, the earliest first": "En litige, le plus ancien d'abord",
    "The longest times without a block": "Les plus longues durées sans bloc",
    "kind": "sorte",
    "id": "identifiant",
    "state": "état",
    "who": "qui",
    "due": "échéance",
    "since": "depuis",
    "before block": "avant le bloc",
    "seconds": "secondes",
    "Evidence against validators": "Preuves contre des validateurs",
    "says": "dit",
    "recorded in block": "inscrite au bloc",
    "none": "aucune",
    "Votes": "Votes",
    "No change was ever proposed.": "Aucun changement n'a été proposé.",
    "change": "changement",
    "proposed by": "proposé par",
    "block": "bloc",
    "in force from block": "en vigueur au bloc",
    "yes": "pour",
    "no": "contre",
    "Members": "Membres",
    "member": "membre",
    "family": "famille",
    "country": "pays",
    "stands, from block": "situation, dès le bloc",
    "keys": "clefs",
    "{} in force, {} ended": "{} en vigueur, {} terminées",
    "Keys, delegations, certificates, validators": "Clefs, délégations, certificats, validateurs",
    "call": "appel",
    "Nothing of the kind happened.": "Rien de tel n'a eu lieu.",
    "Validators": "Validateurs",
    "from block": "à partir du bloc",
    "quorum": "quorum",
    "validators": "validateurs",
    "Who did how much": "Qui a fait combien",
    "applied": "appliqués",
    "refused": "refusés",
    "concerned by": "concerné par",
    "blocks built": "blocs construits",
    "By member and call": "Par membre et par appel",
    "What stands where": "Où en sont les choses",
    "Parameters and tables": "Paramètres et tables",
    "parameter": "paramètre",
    "value": "valeur",
    "table": "table",
    "{} more stand in the file of this report.": "{} autres figurent dans le fichier du rapport.",
    "Date and signature": "Date et signature",
}
